"""ONNX to RKNN. Only the process that compiled can simulate: compile measures the accuracy, verify judges it."""
from __future__ import annotations

from worker.plan import Environment, Plan, Stage
from worker.stages import common

RKNN = Environment("rockchip", "worker/platforms/rockchip/requirements.lock",
                   preload=("worker.platforms.rockchip.preload",), tools=("rknn-toolkit2", "torch"),
                   base="worker.platforms.rockchip.install:base")

# What the toolkit is told; see `arguments`.
_OPTIONS = (
    "chip", "precision", "mean", "std", "float_dtype", "quantized_dtype", "quantized_algorithm", "quantized_method",
    "auto_hybrid", "auto_hybrid_cos_thresh", "auto_hybrid_euc_thresh", "custom_hybrid", "optimization_level",
    "model_pruning", "compress_weight", "remove_weight", "remove_reshape", "single_core_mode", "sparse_infer",
    "enable_flash_attention", "mini_rknn", "memory_plan_strategy", "compute_order", "op_target", "custom_string",
    "disable_rules", "error_analysis",
)

PLAN = Plan("rockchip", RKNN, (
    *common.BEGIN,
    *common.CALIBRATION,
    *common.OWN_INPUTS,
    common.REFERENCE,
    Stage("prepare", "worker.platforms.rockchip.prepare:run", common.ONNX.name, inputs=("optimize",)),
    Stage("compile", "worker.platforms.rockchip.compile:run", RKNN.name,
          inputs=("optimize", "prepare", *common.SAMPLES), parameters=_OPTIONS, weight=6),
    # In the environment that is cheaper to fork: it computes nothing.
    Stage("verify", "worker.platforms.rockchip.verify:run", common.ONNX.name, inputs=("compile", "reference"),
          parameters=("precision", "float_dtype", "verify", "accept_accuracy")),
    common.PUBLISH,
))
