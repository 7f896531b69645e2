"""Small models of ONNX's operators, from the cases of onnx's own backend tests."""
from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

OPSET, IR = 17, 8  # understood by every toolchain
MAX_CASES = 10  # of an operator
FEATURE_MAP = (1, 8, 16, 16)
_PLAIN = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)


def collect() -> dict[str, list[onnx.ModelProto]]:
    """`{operator of the standard domain: models}`, those of plain types first. Only the first input is left open: the
    others become initialisers, as weights, shapes and axes are in a real model. Where the operator goes with it, two
    models in the shape of a feature map come first, in the second of which all inputs are open: there are operators
    that a compiler takes in few shapes only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        cases = collect_testcases(None)
    found: dict[str, list[onnx.ModelProto]] = {}
    for case in cases:
        if case.model is None or not case.data_sets:
            continue
        graph = case.model.graph
        if len(graph.node) == 1 and graph.node[0].domain in ("", "ai.onnx") and graph.input:
            found.setdefault(graph.node[0].op_type, []).extend(_variants(case.model, case.data_sets[0][0]))
    ranked = {name: sorted(models, key=_rank) for name, models in sorted(found.items())}
    return {name: [_after_another(_with_one_output(model)) for model in [*_feature_maps(models), *models][:MAX_CASES]]
            for name, models in ranked.items()}


def _with_one_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the outputs that can be left out: in a network that is used, and not trained, they are."""
    reduced = onnx.ModelProto.FromString(model.SerializeToString())
    graph = reduced.graph
    schema = onnx.defs.get_schema(graph.node[0].op_type, model.opset_import[0].version)
    del graph.node[0].output[max(1, schema.min_output):]
    for output in [output for output in graph.output if output.name not in graph.node[0].output]:
        graph.output.remove(output)
    return reduced if graph.output else model


def _after_another(model: onnx.ModelProto) -> onnx.ModelProto:
    """Behind a sigmoid, where numbers go in: some compilers name what they refuse only if they take another part."""
    graph = model.graph
    if graph.input[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return model
    behind = onnx.ModelProto.FromString(model.SerializeToString())
    name = graph.input[0].name
    for node in behind.graph.node:
        node.input[:] = ["behind" if source == name else source for source in node.input]
    behind.graph.node.insert(0, onnx.helper.make_node("Sigmoid", [name], ["behind"]))
    return behind


def _feature_maps(models: list[onnx.ModelProto]) -> list[onnx.ModelProto]:
    """The first of the models with the shape of its open input made `FEATURE_MAP`, wherever it occurs."""
    if not models:
        return []
    fixed = onnx.ModelProto.FromString(models[0].SerializeToString())
    graph = fixed.graph
    shape = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    same = [tensor for tensor in graph.initializer if list(tensor.dims) == shape]
    for tensor in same:
        values = np.resize(numpy_helper.to_array(tensor), FEATURE_MAP)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    kind = graph.input[0].type.tensor_type.elem_type
    graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(graph.input[0].name, kind, FEATURE_MAP))
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = _inferred(fixed)
    if inferred is None:
        return []
    opened = onnx.ModelProto.FromString(inferred.SerializeToString())
    for tensor in [tensor for tensor in opened.graph.initializer if tensor.name in {entry.name for entry in same}]:
        opened.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, FEATURE_MAP))
        opened.graph.initializer.remove(tensor)
    return [inferred, opened] if same else [inferred]


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """With the outputs' shapes; None where the operator does not go with its inputs'."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
        onnx.checker.check_model(inferred)
    except Exception:  # the checker's and the inference's own
        return None
    return inferred


def _variants(model: onnx.ModelProto, inputs: Sequence[object]) -> Iterator[onnx.ModelProto]:
    if not all(value.type.HasField("tensor_type") for value in [*model.graph.input, *model.graph.output]):
        return
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    named = dict(zip((value.name for value in model.graph.input), inputs, strict=True))
    for value in list(fixed.graph.input)[1:]:
        array = named[value.name]
        tensor = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array)
        tensor.name = value.name
        fixed.graph.initializer.append(tensor)
        fixed.graph.input.remove(value)
    yield _in_a_common_version(fixed)


def _in_a_common_version(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same node in the opset that every toolchain understands, where it is right there too."""
    older = onnx.ModelProto.FromString(model.SerializeToString())
    older.ir_version = IR
    del older.opset_import[:]
    older.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    try:
        onnx.checker.check_model(older, full_check=True)
    except Exception:  # whatever the checker raises: it is another operator there, or none
        return model
    return older


def _rank(model: onnx.ModelProto) -> tuple[int, int]:
    kind = model.graph.input[0].type.tensor_type.elem_type
    return (_PLAIN.index(kind) if kind in _PLAIN else len(_PLAIN), model.opset_import[0].version)
