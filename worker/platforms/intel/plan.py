"""ONNX to OpenVINO IR. The wheel has no NPU compiler: the IR is what the NPU's driver compiles on the device."""
from __future__ import annotations

from worker.plan import Environment, Plan, Stage
from worker.stages import common

OPENVINO = Environment("intel", "worker/platforms/intel/requirements.lock",
                       preload=("worker.platforms.intel.preload",), tools=("openvino", "nncf"), bundled=True)

_INPUTS = ("mean", "std", "layout", "reverse_channels", "input_type")

PLAN = Plan("intel", OPENVINO, (
    *common.BEGIN,
    *common.CALIBRATION,
    *common.OWN_INPUTS,
    common.REFERENCE,
    Stage("prepare", "worker.platforms.intel.prepare:run", common.ONNX.name, inputs=("optimize",)),
    Stage("quantize", "worker.platforms.intel.quantize:run", OPENVINO.name,
          inputs=("optimize", "prepare", *common.SAMPLES),
          parameters=("quantization", "compress_to_fp16", *common.PREPROCESSING),
          only_for=common.QUANTIZED, weight=6),
    Stage("compile", "worker.platforms.intel.compile:run", OPENVINO.name, inputs=("optimize", "prepare", "quantize"),
          parameters=("precision", *_INPUTS), weight=4),
    Stage("verify", "worker.platforms.intel.verify:run", OPENVINO.name,
          inputs=("compile", *common.SAMPLES),
          parameters=("precision", "verify", "accept_accuracy", *_INPUTS), weight=2),
    common.PUBLISH,
))
