"""External data: which files a model names, and that none of them leads out of its folder."""
from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from shared.rules.models import check_location
from shared.rules.onnx.locations import read_locations
from tests import models
from tests.fixtures.stages import Conversion
from worker.stage_api import StageError
from worker.stages.onnx_model import external_entries, walk_tensors


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "upload"
    folder.mkdir()
    return folder


def code(conversion: Conversion, stage: str, unscanned: bool = False) -> StageError:
    """`unscanned`: the stage by itself, as if fetch had let everything pass."""
    if unscanned:
        conversion.facts["fetch"] = {}
    with pytest.raises(StageError) as caught:
        conversion.run(stage)
    assert caught.value.hint
    return caught.value


def test_a_model_without_external_data_names_no_files(tmp_path):
    assert Conversion(tmp_path, models.convolution()).run("fetch") == {"locations": []}


def test_each_file_is_named_once_in_its_normal_form(tmp_path, source):
    path = models.external(source, "./sub//weights.bin")
    assert Conversion(tmp_path, path).run("fetch") == {"locations": ["sub/weights.bin"]}


def test_tensors_of_subgraphs_and_attributes_are_searched_too(tmp_path):
    model = models.nested(2)
    hidden = model.graph.node[0].attribute[0].g.node[0].attribute.add(name="value", type=4)
    hidden.t.CopyFrom(models.weights("t", 2))
    hidden.t.data_location = 1
    hidden.t.external_data.add(key="location", value="../hidden.bin")
    error = code(Conversion(tmp_path, model), "fetch")
    assert error.code == "external_data_outside" and "../hidden.bin" in error.message


@pytest.mark.parametrize("location", ["../weights.bin", "a/../../weights.bin", "/etc/passwd", "..", "a\\b", "C:/x", "",
                                      "model.onnx", ".", "./model.onnx", "nul\0", "*/_ORT_MEM_ADDR_/*", "x" * 2000])
@pytest.mark.parametrize("stage", ["fetch", "inspect"])
def test_a_location_that_may_lead_outside_is_refused(tmp_path, location, stage):
    data = models.relocate(models.external(tmp_path).read_bytes(), location)
    error = code(Conversion(tmp_path, data), stage, unscanned=stage == "inspect")
    assert error.code == "external_data_outside"
    assert repr(location[:50])[:-1] in error.message


@pytest.mark.parametrize("location", ["weights.bin", "onnx::MatMul_12", "a/b/c.data", "..hidden", "モデル.bin"])
def test_plain_names_are_allowed(location):
    assert check_location(location) == location


def test_a_link_is_refused_even_when_it_stays_inside(tmp_path, source):
    path = models.external(source, "link.bin", file="real.bin")
    (source / "link.bin").symlink_to("real.bin")
    error = code(Conversion(tmp_path, path), "inspect")
    assert error.code == "external_data_outside" and "link" in error.message


def test_a_folder_that_is_a_link_is_refused(tmp_path, source):
    (tmp_path / "elsewhere").mkdir()
    path = models.external(source, "sub/weights.bin", file="../elsewhere/weights.bin")
    (source / "sub").symlink_to(tmp_path / "elsewhere")
    assert code(Conversion(tmp_path, path), "inspect").code == "external_data_outside"


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shared.rules.models.MAX_EXTERNAL_FILES", 2)
    model = models.model([], [models.value("x", [1])], [models.value("x", [1])],
                         [models.weights(f"w{i}", 1) for i in range(3)])
    for i, tensor in enumerate(model.graph.initializer):
        tensor.data_location = 1
        tensor.external_data.add(key="location", value=f"{i}.bin")
    error = code(Conversion(tmp_path, model), "fetch")
    assert error.code == "model_too_complex" and "3 external" in error.message


def test_a_model_of_many_small_nodes_is_counted_exactly_where_a_guess_says_too_many(tmp_path, monkeypatch):
    nodes = [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(100)]
    model = models.model(nodes, [models.value("v0", [1])], [models.value("v100", [1])])
    monkeypatch.setattr("shared.rules.models.MAX_ENTRIES", 110)
    assert Conversion(tmp_path, model).run("fetch") == {"locations": []}
    monkeypatch.setattr("shared.rules.models.MAX_ENTRIES", 100)
    assert code(Conversion(tmp_path / "again", model), "fetch").code == "model_too_complex"


def test_attributes_without_end_are_refused(tmp_path, monkeypatch):
    model = models.model([helper.make_node("Relu", ["x"], ["y"], many=[1] * 1000)], [], [])
    monkeypatch.setattr("shared.rules.models.MAX_FIELDS", 500)
    error = code(Conversion(tmp_path, model), "fetch")
    assert error.code == "model_too_complex" and "500" in error.message


tensors = st.lists(st.tuples(st.sampled_from(["a.bin", "b/c.bin", "location"]), st.booleans(), st.integers(0, 3)),
                   max_size=6)


@settings(max_examples=60, deadline=None)
@given(tensors)
def test_the_files_are_those_that_the_onnx_package_sees(listed):
    """A tensor is an initialiser, in an attribute, sparse, or in a subgraph; its data is outside or only looks so."""
    model = models.nested(1)
    for location, external, place in listed:
        tensor = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=int(external))
        tensor.external_data.add(key="offset", value="0")
        tensor.external_data.add(key="location", value=location)
        inner = model.graph.node[0].attribute[0].g
        if place == 0:
            model.graph.initializer.append(tensor)
        elif place == 1:
            model.graph.node.add(op_type="Constant", output=["k"]).attribute.add(name="value").t.CopyFrom(tensor)
        elif place == 2:
            model.graph.sparse_initializer.add().values.CopyFrom(tensor)
        else:
            inner.node.add(op_type="Constant").attribute.add(name="values").tensors.append(tensor)
    wanted = {external_entries(tensor)["location"]
              for _, tensor in walk_tensors(model) if tensor.data_location == tensor.EXTERNAL}
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(model.SerializeToString())
        assert read_locations(Path(file.name)) == sorted(wanted)


def test_inspect_tells_the_files_and_counts_their_bytes(tmp_path, source):
    path = models.external(source)
    facts = Conversion(tmp_path, path).run("inspect")
    size = os.path.getsize(source / "weights.bin")
    assert facts["external_data"] == [{"location": "weights.bin", "size_bytes": size}]
    assert facts["size_bytes"] == size + os.path.getsize(path)


def test_a_missing_file_is_named_with_the_tensor_that_needs_it(tmp_path, source):
    path = models.external(source)
    (source / "weights.bin").unlink()
    error = code(Conversion(tmp_path, path), "inspect")
    assert error.code == "external_data_missing"
    assert "'weights.bin'" in error.message and "'w'" in error.message


def test_a_file_that_is_cut_is_told_with_both_sizes(tmp_path, source):
    path = models.external(source, cut=1)
    error = code(Conversion(tmp_path, path), "inspect")
    assert error.code == "external_data_missing"
    assert str(os.path.getsize(source / "weights.bin")) in error.message


@pytest.mark.parametrize(("key", "value"), [("length", "4"), ("length", "many"), ("offset", "-4")])
def test_bytes_that_do_not_fit_the_shape_are_invalid(tmp_path, source, key, value):
    path = models.external(source)
    conversion = Conversion(tmp_path, path)
    model = onnx.load(path, load_external_data=False)
    next(entry for entry in model.graph.initializer[0].external_data if entry.key == key).value = value
    (conversion.dir("fetch") / "model.onnx").write_bytes(model.SerializeToString())
    error = code(conversion, "inspect")
    assert error.code == "model_invalid" and "'w'" in error.message


def test_a_model_with_external_data_converts_to_the_end(tmp_path, source):
    conversion = Conversion(tmp_path, models.external(source, "sub/weights.bin"), precision="fp32")
    assert conversion.run("verify")["passed"] is True
    assert conversion.facts["optimize"]["simplified"] is True
    assert {path.name for path in conversion.dir("optimize").iterdir()} <= {"model.onnx", "model.onnx.data"}
