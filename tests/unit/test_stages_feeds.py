"""What artefacts are fed with: the same raw values in every toolchain, and what the model gets of them."""
from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from PIL import Image

from tests import models
from tests.fixtures.calibration import PICTURE, Calibrated, npy, picture
from tests.fixtures.stages import Conversion
from tests.unit.test_stages_calibration_images import encoded
from worker.stage_api import StageError
from worker.stages import calibration, reference
from worker.stages.accuracy import Gate, read_samples
from worker.stages.feeds import CALIBRATION, describe_sample, raw_inputs
from worker.stages.preprocess import to_model
from worker.stages.samples import inputs_digest, make_inputs

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
BAKED = {"mean": MEAN, "std": STD}


@pytest.fixture(autouse=True)
def stage_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_without_a_set_the_model_gets_what_it_always_gets():
    seeded = make_inputs([PICTURE], "picture", 4)["x"]
    raw = raw_inputs([PICTURE], {"kind": "picture", "seed": 4}, BAKED)["x"]
    assert raw.max() > 100  # as an image is
    np.testing.assert_allclose(to_model(BAKED, PICTURE, raw), seeded, atol=1e-5)
    assert np.array_equal(raw_inputs([PICTURE], {"kind": "picture", "seed": 4}, {})["x"], seeded)


def test_with_a_set_seeded_values_fill_its_range(tmp_path):
    entry = Calibrated(tmp_path, {"0.npy": npy(picture(0) * 20 - 30), "1.npy": npy(picture(1) * 20 - 30)}).entry
    raw = raw_inputs([PICTURE], {"kind": "noise", "seed": 1}, BAKED, entry)["x"]
    low, high = entry["facts"]["ranges"]["x"]
    assert raw.dtype == np.float32 and low <= raw.min() < raw.max() <= high and raw.max() - raw.min() > 15


def test_a_constant_set_says_nothing_of_the_range(tmp_path):
    entry = Calibrated(tmp_path, {"0.npy": npy(np.full((1, 3, 4, 6), 7))}, accept_accuracy=True).entry
    raw = raw_inputs([PICTURE], {"kind": "noise", "seed": 1}, {}, entry)["x"]
    assert np.array_equal(raw, make_inputs([PICTURE], "noise", 1)["x"])


def test_integers_have_the_range_of_the_set_and_are_0_and_1_without_one(tmp_path):
    item = {"name": "ids", "dtype": "int64", "shape": [1, 6]}
    entry = Calibrated(tmp_path, {"0.npy": npy([[5, 6, 7, 8, 9, 900]])}, inputs=[item]).entry
    ids = raw_inputs([item], describe_sample([item], "noise", 1, entry), {}, entry)["ids"]
    assert ids.dtype == np.int64 and 5 <= ids.min() < ids.max() <= 900
    assert set(raw_inputs([item], {"kind": "noise", "seed": 1}, {})["ids"].ravel().tolist()) <= {0, 1}


def test_a_calibration_sample_is_fed_as_it_is(tmp_path):
    entry = Calibrated(tmp_path, {"0.npy": npy(picture(0)), "1.npy": npy(picture(1))}).entry
    assert np.array_equal(raw_inputs([PICTURE], {"kind": CALIBRATION, "seed": 1}, BAKED, entry)["x"], picture(1))


class Prepared:
    """fetch to calibration as for a quantized target, without the quantizer: reference on a set."""

    def __init__(self, folder, model, files, **parameters):
        conversion = Conversion(folder / "model", model)
        conversion.run("optimize")
        self.inputs = {name: {"dir": str(conversion.dir(name)), "facts": conversion.facts[name]}
                       for name in ("fetch", "optimize")}
        if files:
            self.inputs["calibration"] = Calibrated(folder, files, inputs=conversion.facts["optimize"]["inputs"],
                                                    verify={"samples": 2}).entry
        self.parameters = {"verify": {"enabled": True, "samples": 2, "min_cosine": None}, "mean": None, "std": None,
                           **parameters}
        self.output_dir = folder / "reference"
        self.output_dir.mkdir()

    def run(self):
        return reference.run({"parameters": self.parameters, "inputs": self.inputs, "threads": 1,
                              "output_dir": str(self.output_dir)})

    def samples(self, facts):
        inputs = self.inputs | {"reference": {"dir": str(self.output_dir), "facts": facts}}
        return list(read_samples({"parameters": self.parameters, "inputs": inputs}))


def images(count):
    generator = np.random.default_rng(5)
    return {f"{number}.npy": npy(generator.random((3, 32, 32)) * 255) for number in range(count)}


def test_the_reference_is_the_models_answer_to_preprocessed_raw_values(tmp_path):
    prepared = Prepared(tmp_path, models.convolution(), images(8), **BAKED)
    facts = prepared.run()
    assert [sample["kind"] for sample in facts["samples"]] == [CALIBRATION, CALIBRATION, "picture", "picture"]
    assert [sample["seed"] for sample in facts["samples"]] == [0, 4, 0, 2]
    session = onnxruntime.InferenceSession(prepared.inputs["fetch"]["dir"] + "/model.onnx")
    for kind, (raw,), (output,) in prepared.samples(facts):
        assert raw.max() > 100
        shaped = (raw - np.array(MEAN).reshape(3, 1, 1)) / np.array(STD).reshape(3, 1, 1)
        np.testing.assert_allclose(output, session.run(None, {"x": shaped.astype(np.float32)})[0], rtol=1e-3, atol=1e-4)
        if kind == CALIBRATION:
            assert any(np.array_equal(raw, calibration.read(prepared.inputs["calibration"], n)[0]) for n in (0, 4))


def test_the_calibration_samples_come_before_what_may_not_fit_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "_MAX_BYTES", 3 * 3 * 32 * 32 * 4 + 1000)
    facts = Prepared(tmp_path, models.convolution(), images(8)).run()
    assert [sample["kind"] for sample in facts["samples"]] == [CALIBRATION, CALIBRATION, "picture"]
    assert "3 of 4 samples" in facts["warnings"][-1]


@pytest.mark.parametrize(("parameters", "says"), [
    ({"mean": [1.0]}, "3 channels"), ({"mean": {"images": MEAN}}, "'images'"),
    ({"std": [1e-37] * 3, "mean": [3e38] * 3}, "infinity or NaN")])
def test_preprocessing_that_makes_no_sense_is_refused(tmp_path, parameters, says):
    with pytest.raises(StageError, match=says) as caught:
        Prepared(tmp_path, models.convolution(), images(1), **parameters).run()
    assert caught.value.code == "preprocessing_mismatch"


def test_preprocessing_is_checked_although_nothing_is_verified(tmp_path):
    with pytest.raises(StageError, match="3 channels"):
        Prepared(tmp_path, models.convolution(), None, mean=[1.0], verify={"enabled": False}).run()


def test_images_that_go_in_as_they_are_are_warned_of(tmp_path):
    files = {"0.png": encoded(Image.linear_gradient("L").convert("RGB"))}
    (warning,) = Prepared(tmp_path / "raw", models.convolution(), files).run()["warnings"]
    assert "images go into x as values from 0 to 255" in warning
    assert Prepared(tmp_path / "baked", models.convolution(), files, **BAKED).run()["warnings"] == []
    assert Prepared(tmp_path / "arrays", models.convolution(), images(2)).run()["warnings"] == []


def test_inputs_that_another_numpy_makes_differently_are_noticed(tmp_path):
    prepared = Prepared(tmp_path, models.convolution(), images(8), **BAKED)
    facts = prepared.run()
    prepared.parameters = prepared.parameters | {"mean": [1.0, 2.0, 3.0], "std": [9.0] * 3}
    assert len(prepared.samples(facts)) == 4  # raw values do not depend on what is baked in where a set gives the range
    facts["samples"][0]["seed"] = 1
    with pytest.raises(StageError, match="cannot be made again"):
        prepared.samples(facts)


@pytest.mark.parametrize(("parameters", "blind"), [
    (BAKED, False), ({"mean": [1e12] * 3}, True), ({"std": [1e6] * 3, "mean": [1e12] * 3}, True), ({}, False)])
def test_a_model_that_is_shown_nothing_is_blind(tmp_path, parameters, blind):
    """No comparison tells: the artefact answers just as the model does."""
    facts = Prepared(tmp_path, models.convolution(), images(8), **parameters).run()
    (output,) = facts["outputs"]
    assert output.get("blind", False) is blind
    assert any("the very same to every sample" in text for text in facts["warnings"]) is blind


def test_a_model_that_answers_the_same_to_everything_is_none_that_was_made_blind(tmp_path):
    model = models.convolution()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros(tuple(tensor.dims), np.float32), tensor.name))
    (output,) = Prepared(tmp_path, model, images(8), mean=[1e12] * 3).run()["outputs"]
    assert "blind" not in output


def test_one_class_for_all_samples_is_no_blindness(tmp_path):
    model = models.convolution()
    model.graph.node.add(op_type="ArgMax", input=["y"], output=["class"])
    model.graph.output[0].CopyFrom(models.value("class", None, TensorProto.INT64))
    (output,) = Prepared(tmp_path, model, images(8), mean=[1e12] * 3).run()["outputs"]
    assert output["dtype"] == "int64" and "blind" not in output


def test_a_model_that_cannot_take_plain_pictures_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "make_inputs", lambda *_: {"x": np.zeros((9, 9))})
    (output,) = Prepared(tmp_path, models.convolution(), images(8), mean=[1e12] * 3).run()["outputs"]
    assert "blind" not in output


def test_a_blind_model_fails_though_the_artefact_agrees_with_it():
    gate = Gate([{"name": "y", "max_abs": 1.0, "blind": True}])
    gate.add(CALIBRATION, [np.array([1.0, 0.0])], [np.array([1.0, 0.0])])
    wanted = {"precision": "int8", "verify": {"min_cosine": None}, "accept_accuracy": False}
    with pytest.raises(StageError, match=r"y: cosine 1\.000000 .*the same for every sample") as caught:
        gate.judge(wanted)
    assert caught.value.code == "accuracy_too_low" and "mean and std" in caught.value.hint
    accepted = gate.judge(wanted | {"accept_accuracy": True})
    assert accepted["accepted"] and not accepted["passed"] and accepted["outputs"][0]["blind"] is True


def test_a_set_is_judged_at_the_bound_and_seeded_samples_for_life_alone():
    gate = Gate([{"name": "y", "max_abs": 1.0}])
    gate.add(CALIBRATION, [np.array([1.0, 0.0])], [np.array([1.0, 0.05])])
    gate.add("picture", [np.array([1.0, 0.0])], [np.array([1.0, 0.6])])
    wanted = {"precision": "int8", "verify": {"min_cosine": None}, "accept_accuracy": False}
    facts = gate.judge(wanted)
    assert facts["passed"] and facts["samples"] == 2 and facts["min_cosine"] == 0.95
    assert facts["outputs"][0]["cosine"] > 0.998 and 0.8 < facts["seeded_outputs"][0]["cosine"] < 0.9
    with pytest.raises(StageError, match=r"y: cosine 0\.998752"):
        gate.judge(wanted | {"verify": {"min_cosine": 0.9999}})


def test_an_artefact_that_only_answers_its_own_samples_has_collapsed():
    gate = Gate([{"name": "y", "max_abs": 1.0}])
    gate.add(CALIBRATION, [np.array([1.0, 0.0])], [np.array([1.0, 0.0])])
    gate.add("picture", [np.array([0.0, 1.0])], [np.array([1.0, 0.0])])
    wanted = {"precision": "int8", "verify": {"min_cosine": None}, "accept_accuracy": False}
    with pytest.raises(StageError, match=r"y on seeded inputs: cosine 0\.000000"):
        gate.judge(wanted)
    accepted = gate.judge(wanted | {"accept_accuracy": True})
    assert accepted["accepted"] and not accepted["passed"] and accepted["seeded_outputs"][0]["cosine"] == 0


def test_the_digest_tells_every_value():
    feed = {"x": picture()}
    changed = {"x": picture()}
    changed["x"][0, 0, 0, 0] = np.nextafter(changed["x"][0, 0, 0, 0], np.float32(2))
    assert inputs_digest(feed) != inputs_digest(changed)
