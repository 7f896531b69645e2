"""Seeded samples beside a calibration set: like it in mean and spread, and left out where they are of another kind."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import models
from tests.fixtures.calibration import npy, pictures
from tests.fixtures.stages import Conversion
from worker.stages.accuracy import read_samples
from worker.stages.distribution import Distribution
from worker.stages.feeds import CALIBRATION

SHAPE = (1, 3, 32, 32)


def z_scored(count: int = 6) -> dict[str, bytes]:
    """Arrays of mean 0 and spread 1, from about -4.5 to 4.5."""
    return {f"{seed}.npy": npy(np.random.default_rng(seed).standard_normal(SHAPE, np.float32)) for seed in range(count)}


def reference(folder: Path, files: dict[str, bytes], **parameters: Any) -> tuple[Conversion, dict[str, Any]]:
    conversion = Conversion(folder, models.colour_differences(), precision="int8", calibration_files=files,
                            verify={"samples": 2}, **parameters)
    return conversion, conversion.run("reference")


def kinds(facts: dict[str, Any]) -> list[str]:
    return [sample["kind"] for sample in facts["samples"]]


def test_pictures_that_drive_the_model_beyond_the_set_are_left_out_and_told(tmp_path: Path) -> None:
    _, facts = reference(tmp_path, z_scored())
    assert kinds(facts) == [CALIBRATION, CALIBRATION]
    (warning,) = facts["warnings"]
    assert "left out" in warning and ": 2;" in warning and "for the set" in warning


def test_pictures_beside_a_set_of_pictures_are_kept(tmp_path: Path) -> None:
    _, facts = reference(tmp_path, pictures(12, *SHAPE))
    assert kinds(facts) == [CALIBRATION, CALIBRATION, "picture", "picture"] and facts["warnings"] == []


def test_a_set_on_which_the_model_stays_silent_shows_nothing_to_be_beyond(tmp_path: Path) -> None:
    """As a detector on noise: the pictures stay, and show whether an artefact of such a set sees anything."""
    grey = {f"{seed}.npy": npy(np.broadcast_to(np.random.default_rng(seed).random((1, 1, 32, 32), np.float32), SHAPE))
            for seed in range(6)}
    _, facts = reference(tmp_path, grey)
    assert kinds(facts) == [CALIBRATION, CALIBRATION, "picture", "picture"]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-3.0, 2.0)])
def test_seeded_pictures_have_the_sets_mean_and_spread_and_stay_in_its_range(tmp_path: Path, low: float, high: float
                                                                             ) -> None:
    files = {name: npy(np.random.default_rng(number).uniform(low, high, SHAPE).astype(np.float32))
             for number, name in enumerate(["a.npy", "b.npy", "c.npy", "d.npy"])}
    conversion = Conversion(tmp_path, models.unary("Relu", SHAPE, out_shape=SHAPE), precision="int8",
                            calibration_files=files, verify={"samples": 2})
    conversion.run("reference")
    inputs = {name: {"dir": str(conversion.dir(name)), "facts": conversion.facts[name]}
              for name in ("reference", "calibration")}
    seeded = [raw for kind, (raw,), _ in read_samples({"inputs": inputs, "parameters": conversion.parameters})
              if kind == "picture"]
    spread = (high - low) / 12**0.5
    assert len(seeded) == 2
    for raw in seeded:
        assert low <= raw.min() < raw.max() <= high
        assert raw.mean() == pytest.approx((low + high) / 2, abs=spread / 2)
        assert raw.std() == pytest.approx(spread, rel=0.5)


def test_what_lies_beyond_is_measured_by_the_tensors_own_span() -> None:
    known = Distribution(["y"])
    known.learn({"a": (0.0, 1.0), "b": (-1000.0, 1000.0), "y": (0.0, 1.0)})
    assert known.find_beyond({"a": (0.0, 1.4), "b": (-1900.0, 5.0), "y": (0.0, 1.0)}) is None
    assert known.find_beyond({"a": (-0.6, 1.0), "b": (-1900.0, 5.0), "y": (0.0, 1.0)}) == {
        "name": "a", "value": -0.6, "range": [0.0, 1.0]}
    assert known.find_beyond({"a": (-9.0, 1.0), "y": (0.0, 30.0)}) is None  # the set is silent
