"""Outputs of whole numbers by agreement, and lists of finds whatever their order."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from worker.stage_api import StageError
from worker.stages.accuracy import Gate

GENERATOR = np.random.default_rng(0)
CLASSES = GENERATOR.integers(0, 5, (1, 40, 50))


def judge(expected: list[np.ndarray], actual: list[np.ndarray], precision: str = "int8",
          min_cosine: float | None = None) -> dict[str, Any]:
    gate = Gate([{"name": name} for name in "yzu"[:len(expected)]])
    gate.add("noise", expected, actual)
    return gate.judge({"precision": precision, "verify": {"min_cosine": min_cosine}, "accept_accuracy": False})


def changed(array: np.ndarray, share: float) -> np.ndarray:
    """That share of the ids becomes another class."""
    chosen = np.random.default_rng(1).random(array.shape) < share
    return np.where(chosen, (array + 1 + np.random.default_rng(2).integers(0, 4, array.shape)) % 5, array)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32])
def test_class_ids_are_judged_by_the_share_that_agrees(dtype: Any) -> None:
    (output,) = judge([CLASSES.astype(dtype)], [changed(CLASSES, 0.05).astype(np.float32)])["outputs"]
    assert 0.93 < output["agreement"] < 0.97 and output["values"] == 2000 and "slices" not in output
    said = r"y: 7\d\.\d+% of 2000 whole numbers agree \(at least 0\.9 wanted\)"
    with pytest.raises(StageError, match=said) as caught:
        judge([CLASSES.astype(dtype)], [changed(CLASSES, 0.25)])
    assert "2000 个整数中有 7" in caught.value.message_zh


def test_a_cosine_that_looks_right_does_not_carry_wrong_ids() -> None:
    ids = 100 + CLASSES
    with pytest.raises(StageError, match="whole numbers agree"):
        judge([ids], [100 + changed(CLASSES, 0.5)])


def test_a_low_cosine_does_not_fail_ids_that_agree() -> None:
    ids = (CLASSES == 0) & (GENERATOR.random(CLASSES.shape) < 0.01)
    found = ids ^ (GENERATOR.random(CLASSES.shape) < 0.02)
    (output,) = judge([ids], [found])["outputs"]
    assert output["cosine"] < 0.9 and output["agreement"] > 0.95


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999), ("fp16", 0.99), ("int16", 0.95), ("int8", 0.9)])
def test_the_bound_is_the_precisions_or_the_clients(precision: str, least: float) -> None:
    wrong = changed(CLASSES, 1.2 * (1 - least) + 0.005)
    with pytest.raises(StageError, match=f"at least {least} wanted"):
        judge([CLASSES], [wrong], precision)
    assert judge([CLASSES], [wrong], precision, min_cosine=0.8)["passed"]


def test_pixels_that_are_off_by_one_are_no_ids() -> None:
    pixels = GENERATOR.integers(0, 256, (1, 3, 30, 30)).astype(np.uint8)
    near = np.clip(pixels.astype(int) + GENERATOR.integers(-1, 2, pixels.shape), 0, 255).astype(np.uint8)
    (output,) = judge([pixels], [near])["outputs"]
    assert output["cosine"] > 0.999 and "agreement" not in output


def test_one_class_of_three_samples_may_fall_to_the_other_side_when_quantized() -> None:
    gate = Gate([{"name": "y"}])
    for expected, actual in ((3, 3), (7, 7), (2, 9)):
        gate.add("noise", [np.array([expected])], [np.array([actual])])
    wanted = {"verify": {"min_cosine": None}, "accept_accuracy": False}
    assert gate.judge({"precision": "int8", **wanted})["outputs"][0]["agreement"] == pytest.approx(2 / 3)
    with pytest.raises(StageError, match="whole numbers agree"):
        gate.judge({"precision": "fp16", **wanted})


def test_indices_of_the_best_are_a_set() -> None:
    indices = GENERATOR.permutation(8400)[None, :20]
    turned = indices[:, ::-1]
    assert judge([indices], [turned], "fp16")["outputs"][0]["agreement"] == 1.0
    with pytest.raises(StageError, match="whole numbers agree"):
        judge([indices], [(indices + 1) % 8400], "fp16")


def found(count: int = 60) -> list[np.ndarray]:
    """What a detector lists: boxes, scores from the best on, class ids."""
    score = np.sort(GENERATOR.random(count))[::-1]
    return [GENERATOR.uniform(0, 640, (1, count, 4)).astype(np.float32), score[None].astype(np.float32),
            GENERATOR.integers(0, 80, (1, count))]


def swap(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Each find changes places with its neighbour."""
    order = np.arange(arrays[1].shape[1]).reshape(-1, 2)[:, ::-1].ravel()
    return [array[:, order] for array in arrays]


def test_finds_that_change_places_are_the_same_finds() -> None:
    finds = found()
    assert judge(finds, swap(finds), "fp16")["passed"]
    (joined,) = [np.concatenate([finds[0], finds[1][..., None], finds[2][..., None]], 2).astype(np.float32)]
    moved = swap([joined, finds[1]])[0]
    assert judge([joined], [moved], "fp16")["outputs"][0]["cosine"] > 0.99999


def test_other_finds_are_others() -> None:
    finds = found()
    with pytest.raises(StageError, match="y: cosine"):
        judge(finds, [found()[0], *finds[1:]], "fp16")
    with pytest.raises(StageError, match=r"u: .* whole numbers agree"):
        judge(finds, [*finds[:2], (finds[2] + 1) % 80], "fp16")


def test_channels_are_never_put_into_another_order() -> None:
    """A column that falls may stand in any output: here the channels' magnitudes."""
    channels = (np.arange(12, 0, -1)[None, :, None] * 50 + GENERATOR.uniform(0, 5, (1, 12, 300))).astype(np.float32)
    with pytest.raises(StageError, match="y: cosine"):
        judge([channels], [channels[:, ::-1]], "fp16")
