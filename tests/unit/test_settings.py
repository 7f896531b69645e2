"""Settings that are more than one value in one environment variable, and wrong ones at a process's start."""
from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import WrongSettings, get_settings, read_settings


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


@pytest.fixture
def fresh() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_wrong_settings_are_told_by_their_variables_and_what_was_given_is_not(
        fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_CALLBACK_SECRET", "whsec_hush")
    monkeypatch.setenv("MODEL_CONVERT_UPLOAD_SECRET", "hush-too")
    monkeypatch.setenv("MODEL_CONVERT_SLOTS", "0")
    with pytest.raises(WrongSettings) as caught:
        get_settings()
    told = "".join(traceback.format_exception(caught.value))
    assert all(f"MODEL_CONVERT_{name}: " in told for name in ("CALLBACK_SECRET", "UPLOAD_SECRET", "SLOTS"))
    assert "hush" not in told


def test_what_pydantic_itself_says_of_a_setting_shows_nothing_of_it() -> None:
    with pytest.raises(ValidationError) as caught:
        read_settings({"MODEL_CONVERT_CALLBACK_SECRET": "whsec_hush"})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("module", ["worker", "infra.gateway", "infra.serve", "infra.up up"])
def test_a_malformed_secret_stops_the_service_at_its_start(module: str, tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", *module.split()], capture_output=True, text=True, timeout=60,
                           cwd=tmp_path, env=os.environ | {
                               "MODEL_CONVERT_CALLBACK_SECRET": "whsec_hush", "PYTHONPATH": os.pathsep.join(sys.path)})
    assert ended.returncode == 1 and "Traceback" not in ended.stderr and "hush" not in ended.stderr + ended.stdout
    assert "MODEL_CONVERT_CALLBACK_SECRET: should be whsec_ and the base64 of 24 to 64 random bytes" in ended.stderr


def test_the_entries_that_callbacks_may_reach_are_separated_by_commas_only() -> None:
    text = "receiver:8080, [::1]:9000,10.0.0.0/8,"
    assert read_settings({"MODEL_CONVERT_CALLBACK_ALLOW": text}).callback_allow == (
        "receiver:8080", "[::1]:9000", "10.0.0.0/8")
    with pytest.raises(ValidationError, match="'receiver' should be HOST:PORT or a network"):
        read_settings({"MODEL_CONVERT_CALLBACK_ALLOW": "10.0.0.0/8,receiver"})
