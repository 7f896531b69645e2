"""The header's reader agrees with the onnx package and with the stage `inspect`, and no bytes make it crash or hang."""
from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from shared.preflight import limits
from shared.preflight.judge import judge_model
from shared.rules.onnx import tensors, walk
from shared.rules.onnx.bounds import Incomplete
from shared.rules.onnx.facts import read_facts
from shared.rules.refusal import Refusal
from tests import models
from tests.fixtures.preflight import as_bytes, read_here
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError
from worker.stages.onnx_model import walk_nodes, walk_tensors

FACTS = ("ir_version", "opsets", "producer", "inputs", "outputs", "nodes", "tensor_elements")


def first_problem(model: onnx.ModelProto | bytes) -> tuple[str, str, str] | None:
    try:
        found = next(judge_model(read_here(model)), None)
    except Refusal as problem:
        found = problem
    return (found.code, found.message, found.hint) if found else None


def refusal_of_inspect(folder, model) -> tuple[str, str, str] | None:
    try:
        Conversion(folder, model).run("inspect")
    except StageError as error:
        return error.code, error.message, error.hint
    return None


GOOD = {
    "convolution": models.convolution(["batch", 3, 32, None]), "embedding": models.embedding(), "pair": models.pair(),
    "nested": models.nested(8), "functions": models.laughs(3),
    "ratio": models.ratio(), "foreign": models.unary("Gelu", domain="com.microsoft"),
    "no shape": models.unary("Relu", out_shape=None), "half": models.convolution(dtype=np.float16),
    "newest": models.unary("Relu", opset=onnx.defs.onnx_opset_version(), ir=onnx.IR_VERSION),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_facts_are_those_of_inspect(tmp_path, name: str) -> None:
    inspected = Conversion(tmp_path, GOOD[name]).run("inspect")
    facts = read_here(GOOD[name])
    assert {key: facts[key] for key in FACTS} == {key: inspected[key] for key in FACTS}
    assert {(f"{domain}." if domain else "") + operator: count
            for domain, operator, count in facts["operators"]} == inspected["operators"]
    assert first_problem(GOOD[name]) is None


def bad_tensor(**change: Any) -> onnx.ModelProto:
    model = models.claims([1], b"\0" * 4)
    for name, value in change.items():
        setattr(model.graph.initializer[0], name, value)
    return model


def without(model: onnx.ModelProto, field: str) -> onnx.ModelProto:
    (model if field in model.DESCRIPTOR.fields_by_name else model.graph).ClearField(field)
    return model


BAD = {
    "empty": b"", "pickle": b"\x80\x02}q\x00.", "zip": b"PK\x03\x04" + bytes(100), "html": b"<html></html>",
    "tflite": bytes(4) + b"TFL3" + bytes(100), "safetensors": bytes(8) + b'{"a":1}', "json": b'{"model": 1}',
    "no graph": onnx.ModelProto(ir_version=8), "no ir": without(models.ratio(), "ir_version"),
    "noise": b"\xff" * 4096, "text": b"this is a text file, not a model",
    **{f"cut at {share}": as_bytes(models.convolution())[:int(share * len(as_bytes(models.convolution())))]
       for share in (0.1, 0.5, 0.9, 0.999)},
    "no opset": without(models.convolution(), "opset_import"),
    "opset": models.unary("Relu", opset=onnx.defs.onnx_opset_version() + 1),
    "ir": models.unary("Relu", ir=onnx.IR_VERSION + 1),
    "unknown operators": models.model(
        [helper.make_node("Foo", ["x"], ["a"]), helper.make_node("Bar", ["a"], ["b"], domain="acme"),
         helper.make_node("Upsample", ["b"], ["y"])], [models.value("x", [1])], [models.value("y", [1])],
        domains={"acme": 1}),
    "too many elements": models.claims([1 << 20, 1 << 20]), "overflow": models.claims([1 << 62, 4]),
    "large input": models.unary("Relu", ["n", 3, 1 << 20, 1 << 20]),
    "too little data": models.claims([4], b"\0" * 12), "too much data": models.claims([4], b"\0" * 20),
    "no data": models.claims([2, 2]), "negative": models.claims([-4], b"\0" * 16),
    "unknown type": bad_tensor(data_type=99), "no type": bad_tensor(data_type=0),
    "laughs": models.laughs(26), "recursion": models.laughs(1, recursive=True),
    "deep": models.nested(20), "bomb": models.node_bomb(1_500_000), "many nodes": models.node_bomb(250_000),
    "no output": without(models.unary("Relu"), "output"),
    "text input": models.unary("Identity", dtype=TensorProto.STRING),
    "sequence": models.model([helper.make_node("SequenceConstruct", ["x"], ["y"])], [models.value("x", [1])],
                             [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, [1])]),
}


@pytest.mark.unmeasured  # the bombs
@pytest.mark.parametrize("name", BAD)
def test_a_bad_model_is_refused_in_the_words_of_the_stages(tmp_path, name: str) -> None:
    wanted = refusal_of_inspect(tmp_path, BAD[name])
    assert wanted is not None and first_problem(BAD[name]) == wanted


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "C:w", "a\\b", "", "model.onnx", "a/../b", "*"])
def test_external_data_outside_the_folder_is_refused_in_the_words_of_the_stages(tmp_path, location: str) -> None:
    path = models.external(tmp_path, file="weights.bin")
    data = models.relocate(path.read_bytes(), location)
    wanted = refusal_of_inspect(tmp_path / "stages", data)
    assert wanted is not None and wanted[0] == "external_data_outside" and first_problem(data) == wanted


def test_of_external_data_its_files_and_their_least_sizes_are_told(tmp_path) -> None:
    path = models.external(tmp_path)
    (location, end, tensor), = read_here(path.read_bytes())["external"]
    assert location == "weights.bin" and end == (tmp_path / "weights.bin").stat().st_size and tensor


def test_tensors_that_lie_in_typed_fields_are_counted(tmp_path) -> None:
    def with_tensors(*wrong: float) -> onnx.ModelProto:
        model = models.unary("Relu", opset=21, ir=10)
        model.graph.initializer.extend([
            helper.make_tensor("half", TensorProto.FLOAT16, [3], [1.0, 2.0, 3.0]),
            helper.make_tensor("complex", TensorProto.COMPLEX64, [2], [1 + 2j, 3 + 4j]),
            helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"]),
            helper.make_tensor("doubles", TensorProto.DOUBLE, [2], [1.0, 2.0])])
        model.graph.initializer[1].float_data.extend(wrong)
        return model

    assert read_here(with_tensors())["tensor_elements"] == 9 and first_problem(with_tensors()) is None
    assert first_problem(with_tensors(7.0)) == refusal_of_inspect(tmp_path, with_tensors(7.0))


def test_weights_are_skipped_wherever_they_lie_in_the_file() -> None:
    """Serialised by field number nodes come first; a file may have them after gigabytes of weights."""
    model = models.convolution()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1 << 22, np.float32), "large"))
    nodes_last = onnx.ModelProto(ir_version=8)
    nodes_last.graph.initializer.extend(model.graph.initializer)
    rest = onnx.ModelProto.FromString(as_bytes(model))
    del rest.graph.initializer[:]
    for data in (as_bytes(model), as_bytes(nodes_last) + as_bytes(rest)):  # parts of a message belong together
        read = Counter()

        def ask(start: int, length: int, data: bytes = data, read: Counter[str] = read) -> bytes:
            read["bytes"] += length
            return data[start:start + length]

        facts = read_facts(ask, len(data))
        assert facts["nodes"] == 6 and facts["tensor_elements"] > 1 << 22 and read["bytes"] < 1 << 18
        assert [entry["name"] for entry in facts["inputs"]] == ["x"]


def test_an_initialiser_among_the_inputs_is_no_input() -> None:
    model = models.convolution()
    model.graph.input.insert(0, models.value("w", [8, 3, 3, 3]))
    assert [entry["name"] for entry in read_here(model)["inputs"]] == ["x"]


def test_what_is_folded_or_dropped_before_the_compiler_is_not_what_remains() -> None:
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Det", ["s"], ["folded"]),
             helper.make_node("NonZero", ["w"], ["constant"]), helper.make_node("Hardmax", ["x"], ["unused"]),
             helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Add", ["r", "folded"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, 4])], [models.value("y", [1, 4])], [models.weights("w", 2)])
    assert read_here(model)["remaining"] == [["", "Add"], ["", "Relu"]]


def test_what_a_subgraph_reads_counts_as_read_by_its_node() -> None:
    facts = read_here(models.nested(3))
    assert ["", "If"] in facts["remaining"]
    model = models.nested(1)
    model.graph.node.insert(0, helper.make_node("Neg", ["x"], ["inner"]))
    model.graph.node[1].attribute[0].g.node[0].input[0] = "inner"
    assert ["", "Neg"] in read_here(model)["remaining"]


def test_an_if_whose_branch_a_shape_decides_does_not_remain_and_its_branches_may() -> None:
    model = models.squeezed_if()
    facts = read_here(model)
    assert facts["remaining"] == [["", "Conv"], ["", "Relu"]]
    told, = (node for node in facts["graph"] if node[1] == "If")
    assert told[5] == [["", "Identity"], ["", "Squeeze"]]
    model.graph.node[-2].input[0] = "flag"  # an input decides
    model.graph.input.append(models.value("flag", [], TensorProto.BOOL))
    assert ["", "If"] in read_here(model)["remaining"]


def test_the_versions_names_and_numbers_are_those_of_onnx() -> None:
    assert (onnx.defs.onnx_opset_version(), onnx.IR_VERSION) == (limits.MAX_OPSET, limits.MAX_IR_VERSION)
    types = {number: name for name, number in TensorProto.DataType.items() if number}
    assert types == tensors.TYPES
    for names, message in ((walk.MODEL, onnx.ModelProto), (walk.TRAINING, onnx.TrainingInfoProto),
                           (walk.GRAPH, onnx.GraphProto), (walk.FUNCTION, onnx.FunctionProto),
                           (walk.NODE, onnx.NodeProto), (walk.ATTRIBUTE, onnx.AttributeProto),
                           (walk.SPARSE, onnx.SparseTensorProto), (tensors.TENSOR, TensorProto),
                           (tensors.VALUE, onnx.ValueInfoProto)):
        assert names == {name: message.DESCRIPTOR.fields_by_name[name].number for name in names}
    kinds = onnx.TypeProto.DESCRIPTOR.oneofs_by_name["value"].fields
    assert {field.number: field.name.removesuffix("_type") for field in kinds} | {7: "opaque"} == tensors.KINDS


# --- any bytes at all -------------------------------------------------------------------------------------------------

names = st.text(max_size=6)
dims = st.lists(st.one_of(st.integers(-3, 1 << 33), names, st.none()), max_size=4)
numbers = st.sampled_from([0, 1, 7, 10, 16, 99])


@st.composite
def graphs(draw: st.DrawFn, depth: int = 0) -> onnx.GraphProto:
    graph = onnx.GraphProto(name=draw(names))
    for name, type_number, shape in draw(st.lists(st.tuples(names, numbers, st.none() | dims), max_size=3)):
        value = draw(st.sampled_from([graph.input, graph.output, graph.value_info])).add(name=name)
        value.type.tensor_type.elem_type = type_number
        if shape is not None:
            value.type.tensor_type.shape.SetInParent()
        for dim in shape or ():
            entry = value.type.tensor_type.shape.dim.add()
            if isinstance(dim, int):
                entry.dim_value = dim
            elif dim is not None:
                entry.dim_param = dim
    for name, kind, shape, data in draw(st.lists(st.tuples(
            names, numbers, st.lists(st.integers(-2, 5), max_size=3), st.binary(max_size=40)), max_size=3)):
        graph.initializer.add(name=name, data_type=kind, dims=shape, raw_data=data)
    for domain, operator, inputs, outputs in draw(st.lists(st.tuples(
            st.sampled_from(["", "ai.onnx", "acme"]), names, st.lists(names, max_size=3), st.lists(names, max_size=2)),
            max_size=4)):
        node = graph.node.add(domain=domain, op_type=operator, input=inputs, output=outputs)
        if depth < 2 and draw(st.booleans()):
            node.attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g.CopyFrom(draw(graphs(depth + 1)))
        if draw(st.booleans()):
            node.attribute.add(name="t").t.CopyFrom(TensorProto(data_type=1, dims=[2], raw_data=bytes(8)))
    return graph


@settings(max_examples=150, deadline=None)
@given(graphs(), st.dictionaries(st.sampled_from(["", "acme"]), st.integers(-1, 1 << 40)), st.integers(1, 1 << 40))
def test_any_model_is_read_as_the_onnx_package_reads_it(graph, opsets, ir_version) -> None:
    model = onnx.ModelProto(ir_version=ir_version, producer_name="p", graph=graph)
    for domain, version in opsets.items():
        model.opset_import.add(domain=domain, version=version)
    facts = read_here(model)
    used = Counter((node.domain, node.op_type) for node in walk_nodes(model))
    assert facts["operators"] == [[*operator, count] for operator, count in sorted(used.items())]
    assert facts["opsets"] == {domain or "ai.onnx": version for domain, version in opsets.items()}
    assert (facts["ir_version"], facts["nodes"]) == (ir_version, sum(used.values()))
    initialised = {tensor.name for tensor in graph.initializer}
    wanted = [(value.name, [dim.dim_value if dim.dim_value > 0 else dim.dim_param or None
                            for dim in value.type.tensor_type.shape.dim]
               if value.type.tensor_type.HasField("shape") else None)
              for value in graph.input if value.name not in initialised]
    assert [(entry["name"], entry["shape"]) for entry in facts["inputs"]] == wanted
    sound = [tensor for _, tensor in walk_tensors(model) if tensor.data_type in tensors.TYPES]
    assert bool(facts["problems"]) or len(sound) == len(list(walk_tensors(model)))


def survives(data: bytes) -> None:
    began = time.process_time()
    with suppress(Refusal, Incomplete):
        list(judge_model(read_here(data)))
    assert time.process_time() - began < 5


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_neither_crash_nor_hang_it(data: bytes) -> None:
    survives(data)
    survives(b"\x08\x08\x3a" + bytes([len(data) & 127]) + data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_model_with_some_bytes_changed_neither_crashes_nor_hangs_it(at: int, change: bytes, insert: bool) -> None:
    data = as_bytes(models.nested(3)) + as_bytes(models.convolution())
    survives(data[:at] + change + data[at + (0 if insert else len(change)):])


@pytest.mark.parametrize("data", [
    b"\x3a" + b"\xff" * 9 + b"\x01", b"\x3a" + b"\x80" * 20, b"\x0b\x0c", b"\x00\x00", b"\x3a\x05\x0a\xff\xff\xff\x7f",
    b"\x08\x08" * 100_000], ids=["length of 2^64", "endless varint", "groups", "field 0", "beyond its message", "long"])
def test_hostile_lengths_are_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        read_here(data)
    assert caught.value.code in ("model_unreadable", "model_not_onnx")


@pytest.mark.parametrize("model", [
    models.unary("Relu" * 2000), models.model([helper.make_node("Relu", ["x" * 5000], ["y"])], [], []),
    models.model([], [models.value(f"x{number}", [1]) for number in range(1001)], [])],
    ids=["operator", "name", "inputs"])
def test_names_and_numbers_beyond_all_measure_end_the_check_without_a_verdict(model: onnx.ModelProto) -> None:
    with pytest.raises(Incomplete):
        read_here(model)
