"""The stages that every target with an ONNX input shares, and the environment that runs them."""
from __future__ import annotations

from worker.plan import CORE, GIVEN, Environment, Stage

ONNX = Environment("onnx", "worker/stages/requirements.lock", preload=("worker.stages.preload",),
                   tools=("onnx", "onnxruntime"), bundled=True)

FETCH = Stage("fetch", "worker.stages.fetch:run", CORE, parameters=("input_path",), common=True,
              origin="worker.stages.fetch:versions", renewed="worker.stages.fetch:renewed_versions")
INSPECT = Stage("inspect", "worker.stages.inspect:run", ONNX.name, inputs=("fetch",), common=True)
OPTIMIZE = Stage("optimize", "worker.stages.optimize:run", ONNX.name, inputs=("fetch", "inspect"),
                 parameters=("input_shape", "auto_input_shape", "fixed_inputs", "inputs", "outputs", "simplify"),
                 common=True, weight=2)

BEGIN = (FETCH, INSPECT, OPTIMIZE)  # of every target: a stage that is added here is one that all have

QUANTIZED = ("precision", ("int8", "int16"))
PREPROCESSING = ("mean", "std")
CALIBRATION = (
    Stage("calibration_files", "worker.stages.side_files:run", CORE, parameters=("calibration",), common=True,
          origin="worker.stages.side_files:versions", only_for=QUANTIZED),
    Stage("calibration", "worker.stages.calibration:run", ONNX.name, inputs=("calibration_files", "optimize"),
          parameters=("channel_order", "verify", "accept_accuracy"), common=True, only_for=QUANTIZED),
)
OWN_INPUTS = (  # the client's own test inputs, where they were sent
    Stage("verify_files", "worker.stages.side_files:run", CORE, parameters=("verify.inputs",), common=True,
          origin="worker.stages.side_files:versions", only_for=("verify.inputs", GIVEN)),
    Stage("verify_inputs", "worker.stages.own_inputs:run", ONNX.name, inputs=("verify_files", "optimize"),
          parameters=("channel_order", "verify"), common=True, only_for=("verify.inputs", GIVEN)),
)
# What a stage that calls `accuracy.read_samples` has among its inputs.
SAMPLES = ("reference", "calibration", "verify_inputs")
REFERENCE = Stage("reference", "worker.stages.reference:run", ONNX.name,
                  inputs=("fetch", "optimize", "calibration", "verify_inputs"), parameters=("verify", *PREPROCESSING),
                  common=True, weight=2, form=3)


def publish(artefact: str = "compile") -> Stage:
    """The last stage: the files of the stage `artefact` to `output_path`, with `verify`'s figures, if there is one."""
    return Stage("publish", "worker.stages.publish:run", CORE, inputs=(artefact, "verify"), cached=False)


PUBLISH = publish()
