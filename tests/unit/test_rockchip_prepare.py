"""prepare writes a model for rknn-toolkit2 in an opset that it reads, or says why that cannot be."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests import awkward, models
from tests.fixtures.stages import Conversion
from worker.platforms.rockchip import prepare
from worker.stage_api import StageError
from worker.stages.samples import make_inputs


def prepared(folder: Path, model: onnx.ModelProto | Path) -> tuple[Conversion, onnx.ModelProto]:
    """The conversion, and the model that the tool is given; its answers are those of the model that was sent."""
    conversion = Conversion(folder, model, platform="rockchip", chip="rk3588")
    conversion.run("prepare")
    feed = make_inputs(conversion.facts["optimize"]["inputs"], "noise")
    stage = "prepare" if conversion.facts["prepare"]["changed"] else "optimize"
    expected, given = (onnxruntime.InferenceSession(conversion.dir(name) / "model.onnx").run(None, feed)[0]
                       for name in ("fetch", stage))
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
    return conversion, onnx.load(conversion.dir(stage) / "model.onnx")


def opset(model: onnx.ModelProto) -> int:
    (entry,) = model.opset_import
    return entry.version


def spelled_out(operator: str, since: int, *constants: onnx.TensorProto) -> onnx.ModelProto:
    """An operator that came with the opset `since`, on [1, 8, 16]."""
    names = [tensor.name for tensor in constants]
    return models.model([helper.make_node(operator, ["x", *names], ["y"])], [models.value("x", [1, 8, 16])],
                        [models.value("y", ["a", "b", "c"])], list(constants), opset=since, ir=10)


@pytest.mark.parametrize("version", [9, 13, 19])
def test_a_model_that_the_tool_reads_stays(tmp_path: Path, version: int) -> None:
    conversion, _ = prepared(tmp_path, awkward.in_opset(version, ir=8))
    assert conversion.facts["prepare"] == {"opset": version, "changed": []} and conversion.names("prepare") == []


@pytest.mark.parametrize("model", [
    awkward.in_opset(20), awkward.in_opset(21), awkward.in_opset(24, ir=12), spelled_out("Gelu", 20),
    spelled_out("RMSNormalization", 23, models.weights("scale", 16)), spelled_out("GlobalMaxPool", 22)],
    ids=["20", "21", "24", "Gelu", "RMSNormalization", "GlobalMaxPool, which the converter does not know"])
def test_a_newer_one_is_written_in_the_newest_opset_that_it_reads(tmp_path: Path, model: onnx.ModelProto) -> None:
    _, written = prepared(tmp_path, model)
    assert opset(written) == 19 and written.ir_version <= 11
    onnx.checker.check_model(written, full_check=True)
    assert {"CastLike", "Gelu", "RMSNormalization"}.isdisjoint(node.op_type for node in written.graph.node)


def test_what_has_no_older_form_is_refused(tmp_path: Path) -> None:
    model = models.model([helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2, mode="CRD")],
                         [models.value("x", [1, 3, 8, 8])], [models.value("y", [1, 12, 4, 4])], opset=28, ir=13)
    with pytest.raises(StageError) as caught:
        Conversion(tmp_path, model, platform="rockchip", chip="rk3588").run("prepare")
    assert caught.value.code == "opset_unsupported" and caught.value.hint
    assert "mode" in caught.value.message and "opset 28" in caught.value.message


@pytest.mark.parametrize(("mode", "older"), [("linear", "bilinear"), ("cubic", "bicubic"), ("nearest", "nearest")])
def test_grid_sample_has_its_older_words(tmp_path: Path, mode: str, older: str) -> None:
    """onnx's converter has no adapter for it, and under the older number the newer words say nothing."""
    grid = models.constant("grid", np.linspace(-1, 1, 50).reshape(1, 5, 5, 2), np.float32)
    model = models.model([helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode)],
                         [models.value("x", [1, 3, 8, 8])], [models.value("y", [1, 3, 5, 5])], [grid], opset=20, ir=9)
    _, written = prepared(tmp_path, model)
    assert opset(written) == 19 and helper.get_attribute_value(written.graph.node[0].attribute[0]) == older.encode()


def test_what_would_answer_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: onnx.ModelProto, *_: object) -> Iterator[onnx.ModelProto]:
        model.graph.node[-1].op_type = "GlobalMaxPool"
        model.opset_import[0].version = 19
        yield model

    monkeypatch.setattr(prepare, "lowered", spoil)
    with pytest.raises(StageError) as caught:
        prepared(tmp_path, awkward.in_opset(21))
    assert caught.value.code == "opset_unsupported" and "'y'" in caught.value.message


def test_what_the_tool_looks_up_is_written_out(tmp_path: Path) -> None:
    model = spelled_out("LayerNormalization", 17, models.weights("scale", 16))
    model.ir_version = 8
    _, written = prepared(tmp_path, model)
    given = {entry.name: helper.get_attribute_value(entry) for entry in written.graph.node[0].attribute}
    assert given["axis"] == -1 and given["epsilon"] == pytest.approx(1e-5)


def test_external_data_comes_along(tmp_path: Path) -> None:
    (tmp_path / "upload").mkdir()
    onnx.save_model(awkward.in_opset(21), tmp_path / "upload" / "model.onnx", save_as_external_data=True,
                    location="w.bin", size_threshold=0)
    _, written = prepared(tmp_path, tmp_path / "upload" / "model.onnx")
    assert opset(written) == 19
