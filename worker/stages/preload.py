"""The imports of the onnx environment's host. Each stage is a fork of it, and finds everything in place."""
import onnx
import onnxruntime  # noqa: F401

import worker.stages.accuracy
import worker.stages.calibration
import worker.stages.inspect
import worker.stages.optimize
import worker.stages.reference  # noqa: F401

onnx.defs.has("Identity")  # registers all operators' schemas: 10 ms, else in every stage that asks for one
