"""Calibration sets that tell a quantizer nothing are refused; those that tell it little are warned of."""
from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.calibration import Calibrated, npy, picture
from tests.unit.test_stages_calibration import GOOD, TWO, refusal


@pytest.fixture(autouse=True)
def stage_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_set_that_says_little_is_warned_of(tmp_path):
    assert Calibrated(tmp_path / "0", GOOD).facts["warnings"] == []
    assert "a single sample" in Calibrated(tmp_path / "1", {"0.npy": GOOD["0.npy"]}).facts["warnings"][0]
    same = Calibrated(tmp_path / "2", {"0.npy": GOOD["0.npy"], "1.npy": GOOD["0.npy"]}).facts
    assert same["warnings"] == ["all calibration samples are the same"]
    mask = [TWO[0], TWO[1] | {"name": "mask"}]
    files = {f"{name}/{number}.npy": npy(np.full(size, 1) + (name == "a") * np.arange(size) * number)
             for name, size in (("a", 4), ("mask", 2)) for number in range(2)}
    (warning,) = Calibrated(tmp_path / "3", files, inputs=mask).facts["warnings"]
    assert "input 'mask' has the same value everywhere" in warning


def colours(*values):
    """Pictures of one colour each."""
    return [npy(np.full((1, 3, 4, 6), value)) for value in values]


def as_png(*arrays):
    def encode(array):
        buffer = BytesIO()
        Image.fromarray(array).save(buffer, "PNG")
        return buffer.getvalue()
    return [encode(array.astype(np.uint8)) for array in arrays]


DARK = np.random.default_rng(3).integers(0, 7, (4, 6, 3))
USELESS = {
    "black": ([*colours(0, 0, 0)], "npy"), "one sample": (colours(1), "npy"), "greys": (colours(0.1, 0.5, 0.9), "npy"),
    "a colour": ([npy(np.broadcast_to(np.reshape([9, 5, 1], (1, 3, 1, 1)), (1, 3, 4, 6)))], "npy"),
    "nearly one colour": ([npy(200 + picture() / 100)], "npy"), "nearly black": ([npy(picture() / 100)], "npy"),
    "a black PNG": (as_png(DARK * 0), "png"), "dark PNGs": (as_png(DARK, DARK[::-1]), "png")}


@pytest.mark.parametrize("case", USELESS)
def test_pictures_of_one_colour_are_refused_unless_a_client_takes_what_comes_of_it(tmp_path, case):
    contents, kind = USELESS[case]
    files = {f"{number}.{kind}": content for number, content in enumerate(contents)}
    assert f"(x) of all {len(files)} samples are of one colour" in refusal(tmp_path / "refused", files)
    facts = Calibrated(tmp_path / "taken", files, accept_accuracy=True).facts
    assert any("of one colour" in text for text in facts["warnings"])


def test_one_value_in_all_inputs_is_refused_and_a_scalar_is_no_set_of_them(tmp_path):
    item = [{"name": "x", "dtype": "float", "shape": [1, 4]}]
    assert "(x) has one and the same value" in refusal(tmp_path / "1", {"0.npy": npy(np.ones(4))}, inputs=item)
    scalar = [{"name": "x", "dtype": "float", "shape": [1]}]
    assert len(Calibrated(tmp_path / "2", {"0.npy": npy([1.0])}, inputs=scalar).facts["samples"]) == 1


def test_a_faint_signal_is_no_dark_picture(tmp_path):
    quiet = [{"name": "x", "dtype": "float", "shape": [1, 1, 1, 64]}, {"name": "y", "dtype": "float", "shape": [1, 64]}]
    files = {f"{item['name']}/0.npy": npy(picture(shape=item["shape"]) / 1000) for item in quiet}
    assert len(Calibrated(tmp_path, files, inputs=quiet).facts["samples"]) == 1


def test_one_real_picture_among_black_ones_is_enough_to_go_on(tmp_path):
    assert Calibrated(tmp_path, {"0.npy": colours(0)[0], "1.npy": GOOD["1.npy"]}).facts["warnings"] == []


def test_mean_and_spread_are_told_for_each_input(tmp_path):
    moments = Calibrated(tmp_path, {f"{seed}.npy": npy(picture(seed) * 7 + 2) for seed in range(5)}).facts["moments"]
    values = np.stack([picture(seed) * 7 + 2 for seed in range(5)])
    assert moments["x"] == pytest.approx([values.mean(), values.std()], rel=1e-4)
