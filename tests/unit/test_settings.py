"""Settings that are more than one value in one environment variable."""
from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared.settings import read_settings


def platform_slots(text: str) -> dict[str, int]:
    return read_settings({"MODEL_CONVERT_PLATFORM_SLOTS": text}).platform_slots


@pytest.mark.parametrize(("text", "expected"), [
    ("", {}), (" ", {}), ("a=1", {"a": 1}), ("a=1,b=20", {"a": 1, "b": 20}), (" a = 1 , b=2, ", {"a": 1, "b": 2})])
def test_limits_per_target_are_read(text: str, expected: dict[str, int]) -> None:
    assert platform_slots(text) == expected


def test_without_the_setting_no_target_has_a_limit() -> None:
    assert read_settings({}).platform_slots == {}


@pytest.mark.parametrize("text", ["a", "a=", "=1", "a=0", "a=-1", "a=1.5", "a=x", "a=1=2", "a=1:b=2", "a=1,a=2"])
def test_a_limit_that_is_none_is_refused_and_not_guessed_at(text: str) -> None:
    with pytest.raises(ValidationError, match="platform_slots"):
        platform_slots(text)
