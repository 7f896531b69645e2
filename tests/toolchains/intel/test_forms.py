"""Forms that OpenVINO's reader of ONNX takes for something else, whole through the stages: the artefact's own answers
to inputs that the accuracy check does not try."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.stages import Conversion


def given_by(conversion: Conversion, feed: dict[str, np.ndarray]) -> np.ndarray:
    import openvino as ov

    compiled = ov.Core().compile_model(str(conversion.dir("compile") / "model.xml"), "CPU",
                                       {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(feed)[compiled.outputs[0]]


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("kind", [TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.UINT8])
def test_a_shift_beyond_the_width_and_of_what_is_negative(tmp_path: Path, kind: int, direction: str) -> None:
    info = np.iinfo(helper.tensor_dtype_to_np_dtype(kind))
    rng = np.random.default_rng(5)
    model = models.model([helper.make_node("BitShift", ["x", "by"], ["y"], direction=direction)],
                         [models.value("x", [300], kind), models.value("by", [300], kind)],
                         [models.value("y", [300], kind)], opset=28 if info.min else 17, ir=10)
    conversion = Conversion(tmp_path, model, precision="fp32")
    conversion.run("verify")
    feed = {"x": rng.integers(info.min, info.max, 300, info.dtype, endpoint=True),
            "by": rng.integers(-info.bits - 3 if info.min else 0, info.bits + 5, 300).astype(info.dtype)}
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]
    np.testing.assert_array_equal(given_by(conversion, feed), expected)


@pytest.mark.parametrize(("nodes", "constants"), [
    ([helper.make_node("DFT", ["x", "", "axis"], ["y"], onesided=1)], [models.constant("axis", 2)]),
    ([helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear", antialias=1)],
     [models.constant("sizes", [1, 3, 5, 1])]),
    ([helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="cubic", exclude_outside=1)],
     [models.constant("scales", [1, 1, 0.8, 2], np.float32)])],
    ids=["DFT along an axis that is an input", "Resize with antialias", "Resize without what lies outside"])
def test_what_openvino_does_not_look_at(tmp_path: Path, nodes: list, constants: list) -> None:
    model = models.model(nodes, [models.value("x", [1, 3, 16, 1])], [models.value("y", ["a", "b", "c", "d"])],
                         constants, opset=20, ir=10)
    conversion = Conversion(tmp_path, model, precision="fp32")
    conversion.run("verify")
    feed = {"x": np.random.default_rng(5).random((1, 3, 16, 1), np.float32)}
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]
    given = given_by(conversion, feed)
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, atol=2e-3)
