"""What the locked ONNX Runtime has no implementation of, found by loading models: the reference cannot run it."""
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from infra.operators.cases import collect_own

_CASES = 6  # of an operator in a version
_FLOAT, _DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE


def missing_kernels() -> dict[str, Any]:
    """`{"opsets": {operator: [[first, last]]}, "double": [operators]}` of the standard domain: in these opsets (None
    for the newest) it has the operator for no type at all; and for double it never has it."""
    models = collect_own()
    schemas = onnx.defs.get_all_schemas_with_history()
    opsets, double = {}, []
    for name in sorted(models):
        known = sorted({schema.since_version for schema in schemas if schema.name == name and not schema.domain})
        missing = [version for version in known if _lacks([_at(model, version) for model in models[name]])]
        if missing:
            last = dict(zip(known, [version - 1 for version in known[1:]], strict=False))
            opsets[name] = [[version, last.get(version)] for version in missing]
        if known[-1] not in missing and _lacks([_of_double(model) for model in models[name]]):
            double.append(name)
    return {"opsets": opsets, "double": double}


def _lacks(models: list[onnx.ModelProto | None]) -> bool:
    """Whether none of them loads, and one of them for want of an implementation."""
    said = [_load(model) for model in [model for model in models if model is not None][:_CASES]]
    return "missing" in said and "loads" not in said


def _load(model: onnx.ModelProto) -> str:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        return "missing" if "NOT_IMPLEMENTED" in str(error) else "refused"
    return "loads"


def _at(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    made = onnx.ModelProto.FromString(model.SerializeToString())
    made.opset_import[0].version = version
    return made


def _of_double(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The same model with double instead of float; None where it has no open input of float."""
    if model.graph.input[0].type.tensor_type.elem_type != _FLOAT:
        return None
    made = onnx.ModelProto.FromString(model.SerializeToString())
    for value in [*made.graph.input, *made.graph.output]:
        if value.type.tensor_type.elem_type == _FLOAT:
            value.type.tensor_type.elem_type = _DOUBLE
    for tensor in made.graph.initializer:
        if tensor.data_type == _FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return made
