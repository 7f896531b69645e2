"""ONNX to a MagicMind model, in the interpreter of the vendor's image. The compiler needs no device; quantization and
running the artefact do."""
from __future__ import annotations

from worker.plan import Environment, Plan, Stage
from worker.stages import common

MAGICMIND = Environment("cambricon", locate="worker.platforms.cambricon.toolkit:locate",
                        preload=("worker.platforms.cambricon.preload",))

_SHAPES = ("layout", "output_layout")  # what changes the artefact's inputs and outputs, so that verify knows

PLAN = Plan("cambricon", MAGICMIND, (
    *common.BEGIN, *common.CALIBRATION, *common.OWN_INPUTS, common.REFERENCE,
    Stage("compile", "worker.platforms.cambricon.compile:run", MAGICMIND.name,
          inputs=("fetch", "inspect", "optimize", "calibration"),
          parameters=("chip", "cluster_num", "precision", "mixed_float", "dim_range", "computation_preference",
                      "type64to32_conversion", "conv_scale_fold", "quantization_algorithm", "activation_quant_algo",
                      "weight_quant_granularity", "builder_config", *_SHAPES, *common.PREPROCESSING), weight=4),
    Stage("verify", "worker.platforms.cambricon.verify:run", MAGICMIND.name,
          inputs=("compile", *common.SAMPLES),
          parameters=("chip", "precision", "verify", "accept_accuracy", *_SHAPES, *common.PREPROCESSING), weight=2),
    common.PUBLISH,
))
