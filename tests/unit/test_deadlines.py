"""The time of the work under way: loops over what others have stored end with it."""
from __future__ import annotations

import time
from pathlib import Path

import pytest

from shared import deadlines
from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.deadlines import check_time, ending_at, left_s
from shared.errors import OutOfTime
from shared.files.local import LocalFiles
from shared.preflight.checks import CheckedModel, Findings, check_target
from shared.settings import Settings
from tests import models
from tests.fixtures.preflight import Folder, read_here


def test_without_a_limit_there_is_all_the_time_and_an_outer_limit_holds() -> None:
    check_time()
    assert left_s() == float("inf")
    with ending_at(time.monotonic() + 1000):
        assert 900 < left_s() <= 1000
        with ending_at(time.monotonic() + 9000):
            assert left_s() <= 1000
        with ending_at(time.monotonic()), pytest.raises(OutOfTime):
            check_time()
        check_time()
    assert left_s() == float("inf")


def test_a_listing_ends_with_the_time(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(3):
        folder.put(f"set/{number}.npy", b"")
    files = LocalFiles(tmp_path)
    assert len(list(files.find("models/set/"))) == 3
    with ending_at(time.monotonic()), pytest.raises(OutOfTime):
        list(files.find("models/set/"))


def test_a_listing_ends_after_many_turns_and_only_for_limited_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    monkeypatch.setattr(deadlines, "MAX_TURNS", 5)
    folder = Folder(tmp_path)
    for number in range(6):
        folder.put(f"set/{number}.npy", b"")
    assert len(list(folder.files.find("models/set/"))) == 6
    with ending_at(time.monotonic() + 1000), pytest.raises(OutOfTime):
        list(folder.files.find("models/set/"))
    (tmp_path / "models/set/0.npy").unlink()
    with ending_at(time.monotonic() + 1000):
        assert len(list(folder.files.find("models/set/"))) == 5


def test_a_calibration_set_that_takes_too_long_to_list_is_told_as_not_checked(tmp_path: Path) -> None:
    folder, model = Folder(tmp_path), models.convolution()
    for number in range(3):
        folder.put(f"set/{number}.txt", b"")
    path = folder.put("m.onnx", model)
    task = build_tasks(CreateTask(task_type="onnx_to_openvino", platform="intel", input_path=path, parameters={
        "precision": "int8", "calibration": "models/set"}), Settings())[0]
    checked = CheckedModel(folder.files.stat(path), read_here(model), Findings())
    soon = time.monotonic() + 30
    assert [problem.code for problem in check_target(checked, task, folder.files, soon).problems] == [
        "calibration_invalid"]
    with ending_at(time.monotonic()):
        verdict = check_target(checked, task, folder.files, soon)
    assert verdict.valid and "preflight_incomplete" in [warning.code for warning in verdict.warnings]
