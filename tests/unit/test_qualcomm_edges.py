"""What is written in another form beside edges answers as before, and half as precise it still does."""
from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from tests import models
from worker.platforms.qualcomm.edges import mend_edges
from worker.platforms.qualcomm.forms import change_forms
from worker.stages.graph import Graph


def answer(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]


def sampling(shape: list[int], places: int, mode: str, opset: int = 16, **attributes: object) -> onnx.ModelProto:
    grid = [1, *[1] * (len(shape) - 3), places, len(shape) - 2]
    return models.model([helper.make_node("GridSample", ["x", "grid"], ["y"], mode=mode, **attributes)],
                        [models.value("x", shape), models.value("grid", grid)], [models.value("y", None)], opset=opset)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("shape", [[1, 2, 4, 6], [1, 1, 1, 5]])
def test_a_grid_names_the_middles_of_the_values(shape: list[int], corners: int, padding: str) -> None:
    before, after = (sampling(shape, 500, "nearest", align_corners=corners, padding_mode=padding) for _ in range(2))
    assert mend_edges(Graph(after)) == 1
    grid = np.random.default_rng(5).uniform(-1.4, 1.4, (1, 1, 500, 2)).astype(np.float32)
    grid[..., 0, :], grid[..., 1, :] = 0.5, -0.25  # halves, between two values
    feed = {"x": np.random.default_rng(6).random(shape, np.float32), "grid": grid}
    np.testing.assert_array_equal(answer(after, feed), answer(before, feed))
    # Moved as far as half precision may move it, the new grid chooses the same values.
    names = {node.output[0]: node for node in after.graph.node}
    inside = names["y"].input[1]
    after.graph.output.append(models.value(inside, None))
    made = onnxruntime.InferenceSession(after.SerializeToString()).run(None, feed)[1]
    half = made.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(answer(before, dict(feed, grid=half)), answer(before, feed))


def test_a_grid_between_values_stays() -> None:
    model = sampling([1, 2, 4, 6], 5, "bilinear")
    assert mend_edges(Graph(model)) == 0 and [node.op_type for node in model.graph.node] == ["GridSample"]


def test_a_grid_in_a_volume_stays() -> None:
    assert mend_edges(Graph(sampling([1, 1, 3, 4, 6], 5, "nearest", opset=20))) == 0


def test_a_tangent_is_right_beside_its_poles() -> None:
    before, after = (models.model([helper.make_node("Tan", ["x"], ["y"])], [models.value("x", [2004])],
                                  [models.value("y", [2004])]) for _ in range(2))
    assert mend_edges(Graph(after)) == 1 and "Tan" not in {node.op_type for node in after.graph.node}
    poles = np.array([np.pi / 2, -np.pi / 2, 3 * np.pi / 2, 0], np.float16).astype(np.float32)
    feed = {"x": np.concatenate([np.linspace(-9, 9, 2000, dtype=np.float32), poles])}
    np.testing.assert_allclose(answer(after, feed), answer(before, feed), rtol=2e-3, atol=1e-5)


def test_a_resize_to_a_size_that_is_computed_stays() -> None:
    model = models.model([helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", antialias=1)],
                         [models.value("x", [1, 1, 8, 8]), models.value("sizes", [4], onnx.TensorProto.INT64)],
                         [models.value("y", None)], opset=19)
    assert change_forms(Graph(model)) == 0 and [node.op_type for node in model.graph.node] == ["Resize"]
