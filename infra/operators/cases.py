"""Small models of ONNX's operators, from the cases of onnx's own backend tests."""
from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from shared.rules.models import NUMERIC

OPSET, IR = 17, 8  # understood by every toolchain
MAX_CASES = 10  # of an operator
FEATURE_MAP = (1, 8, 16, 16)
# The shapes of what they write depend on the values that they read.
_BY_VALUES = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}
_PLAIN = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL)


def collect_open() -> dict[str, dict[int, list[tuple[onnx.ModelProto, onnx.ModelProto]]]]:
    """`{operator: {index of an input: pairs of models}}`, of plain types: in the first of a pair only the first input
    is open, in the second one that input too. A compiler may want it to be a constant."""
    found: dict[str, dict[int, list[tuple[onnx.ModelProto, onnx.ModelProto]]]] = {}
    for case in _single_nodes():
        node = case.model.graph.node[0]
        for index, name in enumerate(node.input):
            if index and name and name != node.input[0] and not _is_variadic(node.op_type, index):
                models = [_as_in_a_network(model, is_opened=True) for opened in ((), (name,))
                          for model in _variants(case.model, case.data_sets[0][0], opened) if _is_plain(model)]
                if len(models) == 2:
                    found.setdefault(node.op_type, {}).setdefault(index, []).append((models[0], models[1]))
    return found


def collect_typed() -> dict[str, dict[str, list[onnx.ModelProto]]]:
    """`{operator: {type of its first input: models}}` but for float, of what is most usual, with that input open."""
    found: dict[str, dict[str, list[onnx.ModelProto]]] = {}
    for case in _single_nodes():
        for model in _variants(case.model, case.data_sets[0][0]):
            kind = onnx.TensorProto.DataType.Name(model.graph.input[0].type.tensor_type.elem_type).lower()
            if kind in NUMERIC and kind != "float":
                by_type = found.setdefault(model.graph.node[0].op_type, {})
                by_type.setdefault(kind, []).append(_as_in_a_network(model))
    return found


@lru_cache(maxsize=1)
def collect_own() -> dict[str, list[onnx.ModelProto]]:
    """`{operator: models}`, each in its own opset, with the first input open."""
    found: dict[str, list[onnx.ModelProto]] = {}
    for case in _single_nodes():
        found.setdefault(case.model.graph.node[0].op_type, []).extend(_fixed(case.model, case.data_sets[0][0]))
    return found


def _is_variadic(operator: str, index: int) -> bool:
    inputs = onnx.defs.get_schema(operator).inputs
    return index >= len(inputs) or inputs[index].option == onnx.defs.OpSchema.FormalParameterOption.Variadic


def _is_plain(model: onnx.ModelProto) -> bool:
    return all(value.type.tensor_type.elem_type in _PLAIN for value in model.graph.input)


def _single_nodes() -> list[Any]:
    """The cases of one standard operator each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        cases = collect_testcases(None)
    return [case for case in cases if case.model is not None and case.data_sets and case.model.graph.input
            and len(case.model.graph.node) == 1 and case.model.graph.node[0].domain in ("", "ai.onnx")]


def collect() -> dict[str, list[onnx.ModelProto]]:
    """`{operator of the standard domain: models}`, those of plain types first. Only the first input is left open: the
    others become initialisers, as weights, shapes and axes are in a real model. Where the operator goes with it, two
    models in the shape of a feature map come first, in the second of which all inputs are open: there are operators
    that a compiler takes in few shapes only."""
    found: dict[str, list[onnx.ModelProto]] = {}
    for case in _single_nodes():
        operator = case.model.graph.node[0].op_type
        found.setdefault(operator, []).extend(_variants(case.model, case.data_sets[0][0]))
    ranked = {name: sorted(models, key=_rank) for name, models in sorted(found.items())}
    return {name: [_as_in_a_network(model) for model in [*_feature_maps(models), *models][:MAX_CASES]]
            for name, models in ranked.items()}


def _as_in_a_network(model: onnx.ModelProto, is_opened: bool = False) -> onnx.ModelProto:
    operator, model = model.graph.node[0].op_type, _after_another(_with_one_output(model))
    return _with_what_is_known(model) if is_opened or operator in _BY_VALUES else model


def _with_what_is_known(model: onnx.ModelProto) -> onnx.ModelProto:
    """With those shapes of its outputs alone that shape inference finds. A case declares how many boxes a
    NonMaxSuppression leaves of its own input; no network does."""
    bare = onnx.ModelProto.FromString(model.SerializeToString())
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception:  # the inference's own
        return model
    for output, declared in zip(inferred.graph.output, model.graph.output, strict=True):
        shape = output.type.tensor_type.shape
        if not output.type.tensor_type.HasField("shape"):
            for axis in range(len(declared.type.tensor_type.shape.dim)):
                shape.dim.add().dim_param = f"{output.name}_{axis}"
    return inferred


def _with_one_output(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the outputs that can be left out: in a network that is used, and not trained, they are."""
    reduced = onnx.ModelProto.FromString(model.SerializeToString())
    graph = reduced.graph
    schema = onnx.defs.get_schema(graph.node[0].op_type, model.opset_import[0].version)
    if schema.outputs[-1].option != onnx.defs.OpSchema.FormalParameterOption.Variadic:  # all of a Split are wanted
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


def _variants(model: onnx.ModelProto, inputs: Sequence[object], opened: Sequence[str] = ()
              ) -> Iterator[onnx.ModelProto]:
    """The model with its first input and those that are `opened` left open, in a common version."""
    yield from map(_in_a_common_version, _fixed(model, inputs, opened))


def _fixed(model: onnx.ModelProto, inputs: Sequence[object], opened: Sequence[str] = ()) -> Iterator[onnx.ModelProto]:
    if not all(value.type.HasField("tensor_type") for value in [*model.graph.input, *model.graph.output]):
        return
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    named = dict(zip((value.name for value in model.graph.input), inputs, strict=True))
    for value in [value for value in list(fixed.graph.input)[1:] if value.name not in opened]:
        array = named[value.name]
        tensor = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array)
        tensor.name = value.name
        fixed.graph.initializer.append(tensor)
        fixed.graph.input.remove(value)
    yield fixed


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
