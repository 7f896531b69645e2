"""What a model asks for is bounded in proportion to its size, and each refusal is one of the catalogue, in the words of
the pre-flight too."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from shared.errors import ConversionFailed
from shared.files.local import LocalFiles
from shared.preflight.judge import judge_model
from shared.rules import models as rules
from shared.rules.refusal import Refusal
from shared.settings import Settings
from tests import models
from tests.fixtures.preflight import read_here
from tests.fixtures.stages import Conversion
from worker.stages import fetch


def refusals(folder: Path, model: onnx.ModelProto | bytes) -> tuple[str, str]:
    """The code that the stages up to inspect and the pre-flight both refuse the model with, and the message."""
    with pytest.raises(Refusal) as by_stage:
        Conversion(folder, model).run("inspect")
    with pytest.raises(Refusal) as by_preflight:
        raise next(judge_model(read_here(model)))
    stage, preflight = by_stage.value, by_preflight.value
    assert (stage.code, stage.message, stage.message_zh) == (preflight.code, preflight.message, preflight.message_zh)
    return stage.code, stage.message


# --- tensors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [[1 << 62] * 900, [(1 << 63) - 1] * 2 + [1] * 5])
def test_of_a_shape_without_end_the_elements_are_not_counted_to_the_end(tmp_path: Path, dims: list[int]) -> None:
    code, message = refusals(tmp_path, models.claims(dims))
    assert code == "tensor_too_large" and "2^64 or more" in message and len(message) < 600


def test_a_shape_of_very_many_dimensions_costs_little() -> None:
    """The product of so many has millions of digits."""
    with pytest.raises(Refusal) as caught:
        rules.count_elements("t", [1 << 62] * 300_000)
    assert caught.value.code == "tensor_too_large"
    assert rules.count_elements("t", [1 << 62] * 300_000 + [0]) == 0


@pytest.mark.parametrize("offset", ["1_0", " 0", "+0", "\uff10", "\u0660", "-1", "9" * 5000, "x", ""])
def test_a_place_in_external_data_is_told_in_digits(offset: str) -> None:
    with pytest.raises(Refusal) as caught:
        rules.external_range("t", [1], {"location": "w.bin", "offset": offset}, 4)
    assert caught.value.code == "model_invalid"
    assert rules.external_range("t", [1], {"location": "w.bin", "offset": "16", "length": "4"}, 4) == (16, 4)


# --- names ------------------------------------------------------------------------------------------------------------

NAME = "not text \ue000"  # its last character is made a byte that no UTF-8 has
MARK, NO_UTF_8 = "\ue000".encode(), b"\xff\xff\xff"


def with_name(change: Callable[[onnx.ModelProto], Any]) -> bytes:
    model = models.convolution()
    change(model)
    data = model.SerializeToString()
    assert data.count(MARK) == 1
    return data.replace(MARK, NO_UTF_8)


@pytest.mark.parametrize("change", [
    lambda model: setattr(model, "producer_name", NAME), lambda model: setattr(model.graph.node[0], "name", NAME),
    lambda model: setattr(model.graph.node[1], "op_type", NAME),
    lambda model: setattr(model.graph.node[1], "domain", NAME),
    lambda model: model.graph.node[0].input.append(NAME), lambda model: model.graph.node[0].output.append(NAME),
    lambda model: setattr(model.graph.input[0], "name", NAME),
    lambda model: setattr(model.graph.output[0].type.tensor_type.shape.dim[0], "dim_param", NAME),
    lambda model: setattr(model.graph.initializer[0], "name", NAME),
    lambda model: model.opset_import.add(domain=NAME, version=1),
    lambda model: model.functions.add(name=NAME, domain="d")],
    ids=["producer", "node", "operator", "domain", "input of a node", "output of a node", "input", "dimension",
         "tensor", "opset", "function"])
def test_a_name_that_is_no_text_is_refused(tmp_path: Path, change: Callable[[onnx.ModelProto], Any]) -> None:
    code, message = refusals(tmp_path, with_name(change))
    assert code == "model_invalid" and "UTF-8" in message and "not text" in message


def test_an_attributes_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    data = with_name(lambda model: model.graph.node[0].attribute.add(name=NAME, type=2, i=1))
    with pytest.raises(Refusal) as caught:
        Conversion(tmp_path, data).run("inspect")
    assert caught.value.code == "model_invalid" and "UTF-8" in caught.value.message


def test_names_without_measure_are_refused_before_they_are_a_result(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_FACTS_BYTES", 1 << 20)
    nodes = [helper.make_node("Relu", ["x"], [f"{number:010000}"]) for number in range(150)]
    model = models.model(nodes, [models.value("x", [1])], [models.value(node.output[0], [1]) for node in nodes])
    with pytest.raises(Refusal) as caught:
        Conversion(tmp_path, model).run("inspect")
    assert caught.value.code == "model_too_complex" and "1 MiB" in caught.value.message


# --- numbers of parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("small", [True, False], ids=["in a small node", "in a large one"])
def test_attributes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool) -> None:
    monkeypatch.setattr(rules, "MAX_ATTRIBUTES", 150)
    monkeypatch.setattr(rules, "MAX_ENTRIES", 200 if small else 1000)
    model = models.unary("Relu")
    for _ in range(151):
        model.graph.node[0].attribute.add(doc_string="" if small else "d" * 100)
    code, message = refusals(tmp_path, model)
    assert code == "model_too_complex" and "150 attributes" in message


def test_functions_that_all_call_each_other_are_each_counted_once() -> None:
    looked = Counter[str]()

    class Body(Counter[tuple[str, str]]):
        def items(self) -> Any:
            looked["bodies"] += 1
            return super().items()

    count = 60
    functions = {("d", f"F{number}"): Body({("d", f"F{later}"): 1 for later in range(count - 1, number, -1)}
                                           or {("", "Relu"): 1}) for number in range(count)}
    with pytest.raises(Refusal):
        rules.check_expansion({("d", "F0"): 1}, functions)
    assert looked["bodies"] <= count


# --- what is computed -------------------------------------------------------------------------------------------------


def test_shape_inference_that_asks_for_all_memory_is_given_up(tmp_path: Path) -> None:
    """A shape that is appended to itself forty times, in a thousand bytes: onnx propagates its values."""
    nodes = [helper.make_node("Shape", ["x"], ["s0"]),
             *(helper.make_node("Concat", [f"s{n}", f"s{n}"], [f"s{n + 1}"], axis=0) for n in range(40)),
             helper.make_node("ReduceSum", ["s40"], ["y"], keepdims=0)]
    model = models.model(nodes, [models.value("x", [1, 4])], [models.value("y", [], TensorProto.INT64)])
    assert Conversion(tmp_path, model).run("inspect")["nodes"] == 42


def test_an_allocation_beyond_all_measure_in_shape_inference_is_no_want_of_memory(tmp_path: Path) -> None:
    model = models.model([helper.make_node("Split", ["x"], ["y"], num_outputs=1 << 40)],
                         [models.value("x", [4, 4])], [models.value("y", None)], opset=18)
    assert Conversion(tmp_path, model).run("inspect")["nodes"] == 1


def test_constants_that_fit_into_no_file_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own words, for three thousand constants of a megabyte each, which take gigabytes to make."""
    conversion = Conversion(tmp_path, models.unary("Relu"))
    conversion.run("inspect")

    def refuse(*_: object, **__: object) -> None:
        raise errors.InvalidProtobuf("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf serialization failed.")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(Refusal) as caught:
        conversion.run("optimize")
    assert caught.value.code == "model_too_complex" and "2 GiB" in caught.value.message


# --- what is copied ---------------------------------------------------------------------------------------------------


def context(folder: Path, limit_bytes: int) -> Any:
    files = LocalFiles(folder / "buckets")
    info = files.stat("models/model.onnx")
    out = folder / "out"
    out.mkdir()
    return SimpleNamespace(
        task=SimpleNamespace(input_path="models/model.onnx"), files=files, output_dir=out,
        settings=Settings(max_model_bytes=limit_bytes), report=lambda percent, text: None,
        origin={"etag": info.etag if info else "", "companions": {}}, digests={})


def put(folder: Path, name: str, size_bytes: int) -> None:
    path = folder / "buckets" / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)


def test_a_model_that_no_protobuf_can_be_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    put(tmp_path, "model.onnx", (1 << 31) + 1)
    at = context(tmp_path, 8 << 30)
    with pytest.raises(ConversionFailed) as caught:
        fetch.run(at)
    assert caught.value.code == "model_too_large" and "2 GiB" in str(caught.value)
    assert list(at.output_dir.iterdir()) == []


@pytest.mark.parametrize(("sizes", "code"), [
    ({"a.bin": 600, "b.bin": 600}, "model_too_large"), ({"a.bin": 600}, "external_data_missing")])
def test_external_data_that_is_too_much_or_not_there_is_told_before_any_is_copied(
        tmp_path: Path, sizes: dict[str, int], code: str) -> None:
    model = models.unary("Relu")
    for name in ("a.bin", "b.bin"):
        tensor = model.graph.initializer.add(name=name, data_type=1, dims=[150], data_location=1)
        tensor.external_data.add(key="location", value=name)
    put(tmp_path, "model.onnx", 0)
    (tmp_path / "buckets/models/model.onnx").write_bytes(model.SerializeToString())
    for name, size in sizes.items():
        put(tmp_path, name, size)
    at = context(tmp_path, model.ByteSize() + 1000)
    with pytest.raises(ConversionFailed) as caught:
        fetch.run(at)
    assert caught.value.code == code
    assert [path.name for path in at.output_dir.iterdir()] == ["model.onnx"]
