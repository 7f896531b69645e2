"""The accuracy gate along an output's axes: what is lost though the whole looks right, and what is no loss."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from worker.stage_api import StageError
from worker.stages.accuracy import Gate, judge

Array = np.ndarray
Make = Callable[[np.random.Generator], Array]


def eight_bits(array: Array) -> Array:
    """One scale for all of it, as a compiler has it for a tensor."""
    least, greatest = min(array.min(), 0.0), max(array.max(), 0.0)
    scale = (greatest - least) / 255
    zero = np.rint(-least / scale)
    return (np.clip(np.rint(array / scale) + zero, 0, 255) - zero) * scale


def half(array: Array) -> Array:
    return array.astype(np.float16)


def noisy(share: float) -> Callable[[Array], Array]:
    """An error of that share of each channel's own variation."""
    generator = np.random.default_rng(1)

    def add(array: Array) -> Array:
        axis = array.shape.index(8) if 8 in array.shape else 1
        others = tuple(number for number in range(array.ndim) if number != axis)
        return array + share * generator.standard_normal(array.shape) * array.std(others, keepdims=True)
    return add


def facts(make: Make, artefact: Callable[[Array], Array], precision: str = "int8", samples: int = 3,
          accept: bool = True, **entry: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    gate = Gate([{"name": "y", **entry}])
    for _ in range(samples):
        expected = make(generator).astype(np.float32)
        gate.add("calibration" if precision.startswith("int") else "noise", [expected], [artefact(expected)])
    told = json.loads(json.dumps(gate.figures(), allow_nan=False))
    return judge(told, {"precision": precision, "verify": {"min_cosine": None}, "accept_accuracy": accept})


def sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


def scores(generator: np.random.Generator, count: int, places: int = 600) -> Array:
    return sigmoid(generator.standard_normal((1, count, places)) * 2 - 5)


def boxes(generator: np.random.Generator, places: int = 600, size: float = 640) -> Array:
    return np.concatenate([generator.uniform(0, size, (1, 2, places)), generator.uniform(4, size / 3, (1, 2, places))],
                          1)


def head(generator: np.random.Generator) -> Array:
    """Four coordinates in pixels, then four scores."""
    return np.concatenate([boxes(generator), scores(generator, 4)], 1)


def clipped(generator: np.random.Generator) -> Array:
    """A head whose boxes end at the picture's edge: exact zeros, as a ReLU has them."""
    return np.concatenate([np.maximum(boxes(generator) - 60, 0), scores(generator, 4)], 1)


def pose(generator: np.random.Generator) -> Array:
    """One score between coordinates: 4 of a box, 34 of joints."""
    return np.concatenate([boxes(generator), scores(generator, 1), generator.uniform(0, 640, (1, 34, 600))], 1)


def distances(generator: np.random.Generator) -> Array:
    """Scales of many kinds: pixels, metres, angles, scores."""
    return np.concatenate([boxes(generator), generator.uniform(2, 60, (1, 1, 600)),
                           generator.uniform(-3, 3, (1, 2, 600)), scores(generator, 3)], 1)


def many_absent(generator: np.random.Generator) -> Array:
    """80 classes, of which most never show."""
    return np.concatenate([boxes(generator), scores(generator, 80) * np.logspace(0, -4, 80)[None, :, None]], 1)


SCORES = {4, 5, 6, 7}
LOST = {
    "head": (head, SCORES), "last": (lambda g: head(g).transpose(0, 2, 1), SCORES),
    "no batch": (lambda g: head(g)[0], SCORES), "map": (lambda g: head(g).reshape(1, 8, 20, 30), SCORES),
    "clipped": (clipped, SCORES), "pose": (pose, {4}), "distances": (distances, {7, 8, 9}),
    "absent": (many_absent, set(range(4, 84)))}


@pytest.mark.parametrize(("make", "lost"), LOST.values(), ids=LOST)
def test_scores_beside_pixel_coordinates_are_lost_in_eight_bits(make: Make, lost: set[int]) -> None:
    told = facts(make, eight_bits)
    (output,) = told["outputs"]
    assert output["cosine"] > 0.999 and not told["passed"]
    assert set(output["slices"]["dead"]) | set(output["slices"]["wrong"]) == lost
    assert "share one scale" in told["failures"][0]
    for alive, precision in ((half, "fp16"), (noisy(0.3), "int8")):
        assert facts(make if make is not many_absent else head, alive, precision)["passed"]


def test_the_message_names_output_and_slices_the_bound_and_the_cut() -> None:
    with pytest.raises(StageError) as caught:
        facts(head, lambda array: np.where(np.arange(8)[None, :, None] < 4, array, 0), accept=False,
              joined=["boxes", "scores"])
    said = caught.value
    assert said.code == "accuracy_too_low" and 'outputs = ["boxes", "scores"]' in said.hint
    assert "y: of the 8 slices (channels) along axis 1 of [1, 8, 600], 4-7 are dead" in said.message
    assert "沿轴 1" in said.message_zh and "4-7 已失效" in said.message_zh and "Concat 之前" in said.hint_zh
    with pytest.raises(StageError, match=r"6 are wrong: .* \(0\.7 allowed\)") as caught:
        facts(head, lambda array: np.where(np.arange(8)[None, :, None] == 6, array[:, [5]], array), accept=False)
    assert "parameter outputs" in caught.value.hint


def test_a_loss_in_half_precision_is_told_without_eight_bits() -> None:
    with pytest.raises(StageError) as caught:
        facts(head, lambda array: np.where(np.arange(8)[None, :, None] < 4, array, 0), "fp16", accept=False)
    assert "4-7 are dead" in caught.value.message and "share one scale" not in caught.value.message
    assert "calibration" not in caught.value.hint and "Concat" not in caught.value.hint


def test_false_alarms_in_a_class_that_never_shows_are_no_small_thing() -> None:
    def invents(array: Array) -> Array:
        return np.concatenate([array[:, :-1], array[:, 4:5]], 1)
    assert 83 in facts(many_absent, invents)["outputs"][0]["slices"]["wrong"]


def test_one_lost_channel_of_a_hundred_shows() -> None:
    told = facts(lambda g: g.standard_normal((1, 100, 8, 8)) + 1,
                 lambda array: np.where(np.arange(100)[None, :, None, None] == 7, 0, array))
    assert told["outputs"][0]["cosine"] > 0.99 and told["outputs"][0]["slices"]["dead"] == [7]
    swapped = facts(lambda g: g.standard_normal((1, 100, 8, 8)) + 1,
                    lambda array: array[:, [1, 0, *range(2, 100)]])
    assert swapped["outputs"][0]["cosine"] > 0.98 and swapped["outputs"][0]["slices"]["wrong"] == [0, 1]


@pytest.mark.parametrize("shape", [(1, 1, 30, 40), (1, 1), (1, 5)])
def test_what_is_constant_in_the_artefact_and_not_in_the_model_is_dead(shape: tuple[int, ...]) -> None:
    told = facts(lambda g: g.uniform(6, 10, shape), lambda array: np.full_like(array, 8), samples=8)
    assert told["outputs"][0]["cosine"] > 0.98 and "dead" in told["failures"][0]


def test_an_offset_does_not_carry_an_error() -> None:
    told = facts(lambda g: 10 + g.standard_normal((1, 1, 30, 40)), lambda array: 20 - array)
    assert told["outputs"][0]["cosine"] > 0.97 and "only a constant offset" in told["failures"][0]


def rising(generator: np.random.Generator, channels: int) -> Array:
    """Features of which each channel has a scale of its own; they fall off evenly."""
    scale = np.exp(np.random.default_rng(5).standard_normal(channels))[None, :, None, None]
    return scale * (generator.standard_normal((1, channels, 8, 8)) + np.random.default_rng(6).standard_normal(
        (1, channels, 1, 1)) * 2)


RIGHT = {
    "scores alone": lambda g: scores(g, 20) * np.logspace(0, -3, 20)[None, :, None],
    "class probabilities": lambda g: (lambda e: e / e.sum(1, keepdims=True))(
        np.exp(g.standard_normal((1, 21, 16, 16)) * 2 - np.arange(21)[None, :, None, None])),
    "boxes alone": boxes, "logits": lambda g: g.standard_normal((1, 1000)) * 3,
    "logits that hardly change": lambda g: np.random.default_rng(3).standard_normal((1, 10)) + 0.05
    * g.standard_normal((1, 10)),
    "rectified features": lambda g: np.maximum(rising(g, 512), 0), "SiLU": lambda g: (lambda v: v * sigmoid(v))(
        rising(g, 64) * 3),
    "a map that is dark in most rows": lambda g: 50 * np.exp(-(np.mgrid[:48, :48] - 10.0)**2 / 8).prod(0)[None, None]
    + 0.05 * g.standard_normal((1, 1, 48, 48)),
    "a number": lambda g: 300 + g.standard_normal((1, 1)), "zeros": lambda g: np.zeros((1, 3, 4)),
    "a state": lambda g: np.tanh(g.standard_normal((2, 1, 128))), "nothing": lambda g: np.zeros((1, 0, 4)),
}


@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_what_is_of_one_kind_passes_in_eight_bits_and_in_half_precision(make: Make) -> None:
    def right(array: Array) -> Array:
        return eight_bits(array + 0.05 * array.std() * np.random.default_rng(2).standard_normal(array.shape)
                          ) if array.size and array.std() else array
    assert facts(make, right)["failures"] == []
    assert facts(make, half, "fp16")["failures"] == []


def test_many_slices_are_judged_and_few_are_told() -> None:
    told = facts(lambda g: g.standard_normal((1, 600, 6, 6)) * 4,
                 lambda array: np.where(np.arange(600)[None, :, None, None] % 100 == 99, 0, array))
    slices = told["outputs"][0]["slices"]
    assert told["outputs"][0]["cosine"] > 0.99
    assert slices["dead"] == [99, 199, 299, 399, 499, 599] and len(slices["indices"]) == len(slices["error"]) == 256
    assert set(slices["dead"]) <= set(slices["indices"])


def test_an_accepted_artefact_keeps_its_failures() -> None:
    told = facts(head, eight_bits)
    assert told["accepted"] is True and told["failures"][0].startswith("y: of the 8 slices")
    assert told["failures_zh"][0].startswith("y: 沿轴 1")
    assert told["bounds"] == {"cosine": 0.95, "agreement": 0.9, "small_slice_error": 0.7, "slice_error": 1.0}
