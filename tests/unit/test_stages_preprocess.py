"""mean and std that are baked into an artefact: which inputs they are for, and that raw values lead back."""
from __future__ import annotations

import numpy as np
import pytest

from worker.stage_api import StageError
from worker.stages import preprocess

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
IMAGE = {"name": "x", "dtype": "float", "shape": [1, 3, 8, 6]}
LAST = IMAGE | {"shape": [1, 8, 6, 3]}
IDS = {"name": "ids", "dtype": "int64", "shape": [1, 6]}


def refusal(parameters, inputs, function=preprocess.check) -> str:
    with pytest.raises(StageError) as caught:
        function(parameters, inputs)
    assert caught.value.code == "preprocessing_mismatch" and caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(("shape", "axis"), [
    ([1, 3, 8, 6], 1), ([1, 8, 6, 3], 3), ([2, 1, 8, 6], 1), ([1, 4, 4, 4], 1), ([1, 8, 6, 5], 1), ([1, 64, 8, 3], 3),
    ([1, 3, 8], None), ([3], None), ([], None), ([1, 3, 8, 6, 2], None)])
def test_channels_are_where_an_image_has_them(shape, axis):
    assert preprocess.channel_axis(shape) == axis


@pytest.mark.parametrize("entry", [IMAGE, LAST], ids=["channels first", "channels last"])
def test_the_model_gets_raw_values_minus_mean_by_std_for_each_channel(entry):
    raw = np.random.default_rng(0).random(entry["shape"], np.float32) * 255
    given = preprocess.to_model({"mean": MEAN, "std": STD}, entry, raw)
    axis = preprocess.channel_axis(entry["shape"])
    for channel in range(3):
        want = (np.take(raw, channel, axis).astype(np.float64) - MEAN[channel]) / STD[channel]
        np.testing.assert_allclose(np.take(given, channel, axis), want, atol=1e-6)
    assert given.dtype == np.float32 and given.shape == raw.shape


@pytest.mark.parametrize("parameters", [{"mean": MEAN, "std": STD}, {"mean": MEAN, "std": None}, {"std": STD},
                                        {"mean": {"x": MEAN}, "std": STD}, {"mean": [-1.0] * 3, "std": [-0.5] * 3}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_raw_and_to_model_lead_back_to_the_same(parameters, dtype):
    values = np.random.default_rng(1).standard_normal(IMAGE["shape"]).astype(dtype)
    there = preprocess.to_raw(parameters, IMAGE, values)
    back = preprocess.to_model(parameters, IMAGE, there)
    assert back.dtype == there.dtype == dtype
    np.testing.assert_allclose(back, values, atol=2e-5)
    assert not np.allclose(there, values)


@pytest.mark.parametrize("parameters", [{}, {"mean": None, "std": None}, {"mean": {"other": MEAN}}])
def test_without_mean_and_std_nothing_is_touched(parameters):
    values = np.ones(IMAGE["shape"], np.float32)
    assert preprocess.constants(parameters, IMAGE) is None
    assert preprocess.to_model(parameters, IMAGE, values) is values
    assert preprocess.to_raw(parameters, IMAGE, values) is values


def test_what_is_left_out_does_nothing():
    assert preprocess.constants({"mean": MEAN}, IMAGE) == (MEAN, [1.0] * 3)
    assert preprocess.constants({"std": STD}, IMAGE) == ([0.0] * 3, STD)


def test_a_plain_list_leaves_alone_what_is_no_image_of_numbers():
    mask = {"name": "mask", "dtype": "uint8", "shape": [1, 1, 8, 6]}
    parameters = {"mean": MEAN, "std": STD}
    preprocess.check(parameters, [IMAGE, IDS, mask])
    assert preprocess.constants(parameters, IDS) is None and preprocess.constants(parameters, mask) is None


def test_names_choose_the_inputs():
    other = IMAGE | {"name": "y", "shape": [1, 1, 8, 6]}
    parameters = {"mean": {"x": MEAN, "y": [5.0]}, "std": {"x": STD}}
    preprocess.check(parameters, [IMAGE, other, IDS])
    assert preprocess.constants(parameters, other) == ([5.0], [1.0])
    # The list is for every image, and the names are of mean alone: no fault of the input that has neither.
    preprocess.check({"mean": {"x": MEAN}, "std": STD}, [IMAGE, IDS])


@pytest.mark.parametrize(("parameters", "inputs", "says"), [
    ({"mean": [1.0]}, [IMAGE], "mean has 1 numbers, input 'x' has 3 channels"),
    ({"mean": MEAN, "std": [1.0] * 4}, [IMAGE], "std has 4 numbers"),
    ({"mean": MEAN}, [IMAGE, IMAGE | {"name": "y", "shape": [1, 1, 8, 6]}], "input 'y' has 1 channels"),
    ({"mean": {"images": MEAN}}, [IMAGE], "mean names the input 'images', the model has: x"),
    ({"std": {"x": STD, "z": STD}}, [IMAGE], "std names the input 'z'"),
    ({"mean": {"ids": MEAN}}, [IMAGE, IDS], "input 'ids' is int64 [1, 6]"),
    ({"mean": MEAN}, [IDS], "no input is one"), ({"std": [1.0]}, [IMAGE | {"shape": [1, 10]}], "no input is one"),
    ({"mean": MEAN}, [IMAGE | {"dtype": "uint8"}], "no input is one")], ids=range(9))
def test_what_does_not_fit_the_inputs_is_refused(parameters, inputs, says):
    assert says in refusal(parameters, inputs)


def test_a_constant_asked_for_by_itself_is_refused_too():
    assert "3 channels" in refusal({"mean": [1.0]}, IMAGE, preprocess.constants)
