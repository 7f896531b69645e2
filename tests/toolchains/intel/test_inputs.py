"""What is baked in before an artefact's inputs: a client's raw values give what the model gives for prepared ones."""
from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests import models
from tests.fixtures.stages import Conversion
from worker.platforms.intel.toolkit import ov
from worker.stage_api import StageError

MEAN, STD = [10.0, 120.0, 230.0], [30.0, 60.0, 90.0]
SHAPE = (1, 3, 32, 32)


def channels_last(shape=(1, 16, 24, 3)):
    """A model that was exported with inputs [N, H, W, C]."""
    inner = models.convolution()
    nodes = [helper.make_node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]), *inner.graph.node]
    return models.model(nodes, [models.value("image", list(shape))], [models.value("y", [1, 5])],
                        inner.graph.initializer)


def two_images():
    """Convolutions of two images, added up."""
    nodes = [helper.make_node("Conv", [name, "w"], [f"c_{name}"], pads=[1, 1, 1, 1]) for name in ("a", "b")]
    nodes.append(helper.make_node("Add", ["c_a", "c_b"], ["y"]))
    return models.model(nodes, [models.value("a", list(SHAPE)), models.value("b", list(SHAPE))],
                        [models.value("y", [1, 4, 32, 32])], [models.weights("w", 4, 3, 3, 3)])


def photo(*shape: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def answer(conversion: Conversion, *inputs: np.ndarray) -> np.ndarray:
    compiled = ov.Core().compile_model(conversion.dir("compile") / "model.xml", "CPU",
                                       {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(list(inputs))[0]


def answer_of_the_model(model, **feed: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feed)[0]


def refusal(folder, model, **parameters) -> StageError:
    with pytest.raises(StageError) as caught:
        Conversion(folder, model, **parameters).run("compile")
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(("normalised", "layout", "reverse_channels", "input_type"), [
    options for options in itertools.product([True, False], ["nhwc", "nchw"], [True, False], ["u8", None])
    if options != (False, "nchw", False, None)])
def test_raw_values_give_what_the_model_gives_for_prepared_ones(tmp_path, normalised, layout, reverse_channels,
                                                               input_type):
    model = models.convolution()
    baked = {"mean": MEAN, "std": STD} if normalised else {}
    conversion = Conversion(tmp_path, model, precision="fp32", layout=layout, reverse_channels=reverse_channels,
                            input_type=input_type, **baked)
    assert conversion.run("verify")["passed"] is True
    wanted = [1, 32, 32, 3] if layout == "nhwc" else list(SHAPE)
    assert conversion.facts["compile"]["inputs"] == [
        {"name": "x", "dtype": "u8" if input_type else "f32", "shape": wanted}]
    image = photo(*wanted)
    prepared = image.astype(np.float32)
    if layout == "nhwc":
        prepared = prepared.transpose(0, 3, 1, 2)
    if reverse_channels:
        prepared = prepared[:, ::-1]
    if normalised:
        prepared = (prepared - np.float32(MEAN).reshape(1, 3, 1, 1)) / np.float32(STD).reshape(1, 3, 1, 1)
    given = image if input_type else image.astype(np.float32)
    np.testing.assert_allclose(answer(conversion, given), answer_of_the_model(model, x=np.ascontiguousarray(prepared)),
                               rtol=1e-4, atol=1e-4)


def test_a_model_with_its_channels_last_gets_them_first(tmp_path):
    model = channels_last()
    conversion = Conversion(tmp_path, model, precision="fp32", layout="nchw", reverse_channels=True, mean=MEAN, std=STD)
    assert conversion.run("verify")["passed"] is True
    assert conversion.facts["compile"]["inputs"][0]["shape"] == [1, 3, 16, 24]
    image = photo(1, 3, 16, 24).astype(np.float32)
    prepared = (image[:, ::-1].transpose(0, 2, 3, 1) - np.float32(MEAN)) / np.float32(STD)
    np.testing.assert_allclose(answer(conversion, image), answer_of_the_model(model, image=prepared),
                               rtol=1e-4, atol=1e-4)


def test_inputs_may_be_named_and_the_others_stay_as_they_are(tmp_path):
    model = two_images()
    conversion = Conversion(tmp_path, model, precision="fp32", mean={"b": MEAN}, std={"b": STD})
    assert conversion.run("verify")["passed"] is True
    image = photo(*SHAPE).astype(np.float32)
    prepared = (image - np.float32(MEAN).reshape(1, 3, 1, 1)) / np.float32(STD).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(answer(conversion, image, image), answer_of_the_model(model, a=image, b=prepared),
                               rtol=1e-3, atol=1e-3)
    assert "processor.input('a')" not in " ".join(conversion.facts["compile"]["commands"])


@pytest.mark.parametrize("parameters", [{"mean": MEAN, "std": STD}, {"input_type": "u8"}, {"reverse_channels": True},
                                        {"layout": "nhwc", "input_type": "u8", "mean": MEAN, "std": STD}])
def test_a_model_in_half_precision_takes_them_too(tmp_path, parameters):
    conversion = Conversion(tmp_path, models.convolution(dtype=np.float16), **parameters)
    assert conversion.run("verify")["passed"] is True
    assert conversion.facts["compile"]["inputs"][0]["dtype"] == ("u8" if "input_type" in parameters else "f16")


def test_verify_sees_preprocessing_that_is_not_what_was_asked_for(tmp_path):
    for name, other in (("mean", [0.0, 0.0, 0.0]), ("reverse_channels", True)):
        conversion = Conversion(tmp_path / name, models.convolution(), precision="fp32", mean=MEAN, std=STD)
        conversion.run("optimize")
        asked, conversion.parameters[name] = conversion.parameters[name], other
        conversion.run("compile")
        conversion.parameters[name] = asked
        with pytest.raises(StageError) as caught:
            conversion.run("verify")
        assert caught.value.code == "accuracy_too_low"


def test_nothing_is_baked_into_an_artefact_of_which_nothing_was_asked(tmp_path):
    plain, same = (Conversion(tmp_path / name, models.convolution(), own_interpreter=True, **parameters)
                   for name, parameters in (("plain", {}), ("same", {"layout": "nchw"})))
    assert plain.run("compile") == same.run("compile")
    assert plain.facts["compile"]["commands"] == [
        "model = openvino.convert_model('model.onnx')",
        "openvino.save_model(model, 'model.xml', compress_to_fp16=True)"]
    for file in ("model.xml", "model.bin"):
        assert (plain.dir("compile") / file).read_bytes() == (same.dir("compile") / file).read_bytes()


def test_the_weights_file_says_whether_they_are_compressed(tmp_path):
    sizes = {}
    for precision, choice in (("fp32", None), ("fp32", False), ("fp16", None), ("fp16", True)):
        conversion = Conversion(tmp_path / f"{precision}-{choice}", models.convolution(), precision=precision,
                                compress_to_fp16=choice)
        conversion.run("compile")
        sizes[precision, choice] = (conversion.dir("compile") / "model.bin").stat().st_size
    assert sizes["fp32", None] == sizes["fp32", False] > 1.8 * sizes["fp16", None] == 1.8 * sizes["fp16", True]


INTEGERS = models.model([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
                        [models.value("x", list(SHAPE), TensorProto.INT32)], [models.value("y", list(SHAPE))])


@pytest.mark.parametrize(("model", "parameters", "words"), [
    (models.pair([1, 4], [1, 4]), {"layout": "nhwc"}, "layout is for inputs that are images; the model's are: a float"),
    (models.pair([1, 4], [1, 4]), {"input_type": "u8"}, "input_type is for"),
    (models.pair([1, 4], [1, 4]), {"mean": [1.0]}, "no input is one"),
    (models.unary("Relu", (1, 1, 8, 8), out_shape=(1, 1, 8, 8)), {"reverse_channels": True}, "of three channels"),
    (models.unary("Relu", (1, 64, 8, 8), out_shape=(1, 64, 8, 8)), {"layout": "nhwc"}, "x float [1, 64, 8, 8]"),
    (models.convolution(), {"mean": [1.0, 2.0]}, "mean has 2 numbers, input 'x' has 3 channels"),
    (INTEGERS, {"input_type": "u8"}, "x int32 [1, 3, 32, 32]"),
    (INTEGERS, {"mean": MEAN}, "no input is one"),
    (models.convolution(), {"mean": {"y": MEAN}}, "mean names the input 'y'")])
def test_what_no_input_can_take_is_refused(tmp_path, model, parameters, words):
    error = refusal(tmp_path, model, **parameters)
    assert error.code == "preprocessing_mismatch" and words in error.message
