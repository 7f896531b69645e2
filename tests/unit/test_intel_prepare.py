"""prepare writes for OpenVINO in another form what it would take for something else; the answers stay."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.platforms.intel.forms import change_forms
from worker.stage_api import StageError
from worker.stages.graph import Graph

WIDTHS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "int16": TensorProto.INT16,
          "uint16": TensorProto.UINT16, "int32": TensorProto.INT32, "uint32": TensorProto.UINT32,
          "int64": TensorProto.INT64, "uint64": TensorProto.UINT64}


def answer(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feed)[0]


def one(operator: str, inputs: list[str], shape: list[int], constants: dict[str, np.ndarray], *, opset: int = 20,
        out: int = TensorProto.FLOAT, **attributes: object) -> onnx.ModelProto:
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    return models.model([helper.make_node(operator, inputs, ["y"], **attributes)], [models.value("x", shape)],
                        [models.value("y", None, out)], tensors, opset=opset, ir=10)


def changed(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, int]]:
    other = onnx.ModelProto.FromString(model.SerializeToString())
    graph = Graph(other)
    counts = change_forms(graph)
    graph.drop_unused_constants()
    return other, counts


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("name", WIDTHS)
def test_a_shift_is_right_for_every_value_and_every_distance(name: str, direction: str) -> None:
    kind, info = WIDTHS[name], np.iinfo(name)
    rng = np.random.default_rng(5)
    values = rng.integers(info.min, info.max, 600, info.dtype, endpoint=True)
    values[:5] = [info.max, info.min, 0, 1, info.max - 1]
    by = rng.integers(-info.bits - 3 if info.min else 0, info.bits + 5, 600).astype(info.dtype)
    model = models.model([helper.make_node("BitShift", ["x", "by"], ["y"], direction=direction)],
                         [models.value("x", [600], kind), models.value("by", [600], kind)],
                         [models.value("y", None, kind)], opset=28 if info.min else 17, ir=10)
    other, counts = changed(model)
    assert counts == {"BitShift": 1} and "BitShift" not in {node.op_type for node in other.graph.node}
    feed = {"x": values, "by": by}
    np.testing.assert_array_equal(answer(other, feed), answer(model, feed))


@pytest.mark.parametrize("axis", [0, 1, 2, -2, None])
@pytest.mark.parametrize(("parts", "attributes"), [(1, {}), (2, {"inverse": 1}), (1, {"onesided": 1})])
def test_a_dft_runs_along_the_axis_that_openvino_takes(axis: int | None, parts: int, attributes: dict[str, int]
                                                      ) -> None:
    given = {} if axis is None else {"axis": np.array(axis, np.int64)}
    model = one("DFT", ["x", "", "axis"] if given else ["x"], [2, 3, 4, parts], given, **attributes)
    other, counts = changed(model)
    assert counts == ({"DFT": 1} if axis != 1 or "onesided" in attributes else {})
    made = next(node for node in other.graph.node if node.op_type == "DFT")
    assert onnx.numpy_helper.to_array(next(tensor for tensor in other.graph.initializer
                                           if tensor.name == made.input[2])) == 1
    feed = {"x": np.random.default_rng(5).random((2, 3, 4, parts), np.float32)}
    np.testing.assert_allclose(answer(other, feed), answer(model, feed), atol=1e-5)


@pytest.mark.parametrize(("mode", "attributes", "sizes"), [
    *((mode, {"antialias": 1}, sizes) for mode in ("linear", "cubic") for sizes in ([5, 4], [13, 6])),
    ("cubic", {"exclude_outside": 1}, [5, 14]),
    *((mode, {"keep_aspect_ratio_policy": policy}, sizes) for mode in ("linear", "cubic", "nearest")
      for policy, sizes in (("not_larger", [4, 12]), ("not_smaller", [16, 3])))])
def test_a_resize_is_spelled_out_where_openvino_does_not_look_at_an_attribute(mode: str, attributes: dict[str, object],
                                                                             sizes: list[int]) -> None:
    model = one("Resize", ["x", "", "", "sizes"], [1, 3, 8, 10], {"sizes": np.array(sizes, np.int64)}, mode=mode,
                axes=[2, 3], **attributes)
    other, counts = changed(model)
    assert counts == {"Resize": 1}
    assert {node.op_type for node in other.graph.node} <= {"Gather", "MatMul", "Identity"}
    feed = {"x": np.random.default_rng(5).random((1, 3, 8, 10), np.float32)}
    np.testing.assert_allclose(answer(other, feed), answer(model, feed), atol=1e-5)


def test_a_plain_resize_stays() -> None:
    model = one("Resize", ["x", "", "", "sizes"], [1, 3, 8, 9], {"sizes": np.array([1, 3, 5, 4])}, mode="linear")
    other, counts = changed(model)
    assert counts == {} and [node.op_type for node in other.graph.node] == ["Resize"]


@pytest.mark.parametrize("given", [None, 0.0, 0.14285715, 0.5])
def test_the_threshold_of_overlap_is_a_little_greater(given: float | None) -> None:
    constants = {"most": np.array([3], np.int64)}
    if given is not None:
        constants["overlap"] = np.array([given], np.float32)
    model = one("NonMaxSuppression", ["x", "scores", "most", *(["overlap"] if given is not None else [])], [1, 3, 4],
                constants, out=TensorProto.INT64)
    model.graph.input.append(models.value("scores", [1, 1, 3]))
    other, counts = changed(model)
    assert counts == {"NonMaxSuppression": 1}
    name = next(node for node in other.graph.node if node.op_type == "NonMaxSuppression").input[3]
    raised = float(onnx.numpy_helper.to_array(next(t for t in other.graph.initializer if t.name == name))[0])
    before = np.float32(given or 0.0)
    assert before < raised <= before + 2e-7
    feed = {"x": np.array([[[0, 0, 1, 1], [0.5, 0.5, 1.5, 1.5], [5, 5, 6, 6]]], np.float32),
            "scores": np.array([[[0.9, 0.8, 0.7]]], np.float32)}
    np.testing.assert_array_equal(answer(other, feed), answer(model, feed))


def computed(operator: str, inputs: list[str], shape: list[int], **attributes: object) -> onnx.ModelProto:
    model = one(operator, inputs, [1, 1, 8, 8], {}, **attributes)
    model.graph.input.append(models.value("given", shape, TensorProto.INT64))
    return model


@pytest.mark.parametrize(("model", "name"), [
    (computed("Tile", ["x", "given"], [4]), "Tile"), (computed("DFT", ["x", "", "given"], []), "DFT"),
    (computed("Resize", ["x", "", "", "given"], [4], antialias=1, mode="linear"), "Resize")])
def test_what_openvino_takes_as_a_constant_alone_is_refused_where_it_is_computed(
        tmp_path: Path, model: onnx.ModelProto, name: str) -> None:
    with pytest.raises(StageError, match=rf"{name} \(given\)") as caught:
        Conversion(tmp_path, model).run("prepare")
    assert caught.value.code == "unsupported_operator" and "fixed_inputs" in caught.value.hint


def test_a_model_with_nothing_to_change_stays_where_it_is(tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, models.convolution())
    assert conversion.run("prepare") == {"forms": {}, "warnings": []} and conversion.names("prepare") == []
