"""ONNX to OpenVINO IR. The wheel has no NPU compiler: the IR is what the NPU's driver compiles on the device."""
from __future__ import annotations

from worker.plan import Environment, Plan, Stage
from worker.stages import common

OPENVINO = Environment("intel", "worker/platforms/intel/requirements.lock",
                       preload=("worker.platforms.intel.preload",), tools=("openvino",))

PLAN = Plan("intel", OPENVINO, (
    common.FETCH,
    common.INSPECT,
    common.OPTIMIZE,
    common.REFERENCE,
    Stage("compile", "worker.platforms.intel.compile:run", OPENVINO.name, inputs=("optimize",),
          parameters=("precision",), weight=4),
    Stage("verify", "worker.platforms.intel.verify:run", OPENVINO.name, inputs=("compile", "reference"),
          parameters=("precision", "verify", "accept_accuracy"), weight=2),
    common.PUBLISH,
))
