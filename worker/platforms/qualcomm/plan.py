"""ONNX to a QNN context binary. What was compiled is loaded again and simulated; naming and embedding come last, so
that neither repeats the rest."""
from __future__ import annotations

from worker.plan import Environment, Plan, Stage
from worker.stages import common

QNN = Environment("qualcomm", "worker/platforms/qualcomm/requirements.lock",
                  preload=("worker.platforms.qualcomm.preload",), tools=("onnxruntime-qnn", "onnxruntime"))

PLAN = Plan("qualcomm", QNN, (
    *common.BEGIN,
    *common.CALIBRATION,
    *common.OWN_INPUTS,
    common.REFERENCE,
    Stage("prepare", "worker.platforms.qualcomm.prepare:run", QNN.name, inputs=("optimize",),
          parameters=("precision", *common.PREPROCESSING)),
    Stage("quantize", "worker.platforms.qualcomm.quantize:run", QNN.name, inputs=("prepare", "calibration"),
          parameters=("precision", "calibrate_method", "per_channel", "weight_type", "mixed_precision"),
          only_for=common.QUANTIZED, weight=3),
    Stage("compile", "worker.platforms.qualcomm.compile:run", QNN.name, inputs=("prepare", "quantize"),
          parameters=("chip", "precision", "htp_graph_finalization_optimization_mode", "vtcm_mb", "allow_cpu",
                      "offload_graph_io_quantization"), weight=4),
    Stage("verify", "worker.platforms.qualcomm.verify:run", QNN.name, inputs=("compile", *common.SAMPLES),
          parameters=("chip", "precision", "allow_cpu", "verify", "accept_accuracy", "simulated_samples",
                      *common.PREPROCESSING), weight=4),
    Stage("package", "worker.platforms.qualcomm.package:run", QNN.name, inputs=("compile",),
          parameters=("chip", "allow_cpu", "embed", "output_name")),
    common.publish("package"),
))
