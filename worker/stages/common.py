"""The stages that every target with an ONNX input shares, and the environment that runs them."""
from __future__ import annotations

from worker.plan import CORE, Environment, Stage

ONNX = Environment("onnx", "worker/stages/requirements.lock", preload=("worker.stages.preload",),
                   tools=("onnx", "onnxruntime"))

FETCH = Stage("fetch", "worker.stages.fetch:run", CORE, common=True)
INSPECT = Stage("inspect", "worker.stages.inspect:run", ONNX.name, inputs=("fetch",), common=True)
OPTIMIZE = Stage("optimize", "worker.stages.optimize:run", ONNX.name, inputs=("fetch", "inspect"),
                 parameters=("input_shape", "auto_input_shape"), common=True, weight=2)
REFERENCE = Stage("reference", "worker.stages.reference:run", ONNX.name, inputs=("fetch", "optimize"),
                  parameters=("verify",), common=True, weight=2)
PUBLISH = Stage("publish", "worker.stages.publish:run", CORE, inputs=("compile", "verify"), cached=False)
