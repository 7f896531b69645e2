"""What creating a task waits for: one look at a model, never for long, and at nothing twice in a row."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.documents import Task
from shared.errors import InvalidRequest, Unavailable
from shared.files import FileInfo
from shared.preflight import admission
from shared.preflight.admission import Admission
from shared.settings import Settings
from tests import models
from tests.fixtures.preflight import Folder

SETTINGS = Settings(preflight_s=60.0)


def tasks_for(path: str, **parameters: object) -> list[Task]:
    return build_tasks(CreateTask(task_type="onnx_to_openvino", platform="intel", input_path=path,
                                  parameters=parameters), SETTINGS)


class Store:
    """A stand-in for an object store that counts and delays what is asked of it."""

    def __init__(self, folder: Folder, before_stat: Callable[[], None]) -> None:
        self._files, self._before_stat, self.stats = folder.files, before_stat, 0
        self.read_range, self.find = folder.files.read_range, folder.files.find

    def stat(self, path: str) -> FileInfo | None:
        self.stats += 1
        self._before_stat()
        return self._files.stat(path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def use(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    def use(before_stat: Callable[[], None] = lambda: None) -> Store:
        store = Store(folder, before_stat)
        monkeypatch.setattr(admission, "get_files", lambda: store)
        return store

    return use


def test_a_request_that_passed_is_not_looked_at_again_for_a_while(folder: Folder, use: Callable[..., Store]) -> None:
    path, store, checked = folder.put("good.onnx", models.convolution()), use(), Admission()
    assert checked.check(tasks_for(path), SETTINGS) is None
    asked = store.stats
    for _ in range(20):
        assert checked.check(tasks_for(path), SETTINGS) is None
    assert store.stats == asked > 0
    assert checked.check(tasks_for(path, input_shape=[1, 3, 9]), SETTINGS)[1].code == "input_shape_mismatch"


def test_a_refused_request_is_looked_at_each_time_but_its_model_is_read_once(
        folder: Folder, use: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    path, store, checked = folder.put("dynamic.onnx", models.convolution([1, 3, "h", 32])), use(), Admission()
    assert checked.check(tasks_for(path), SETTINGS)[1].code == "dynamic_shape"
    asked = store.stats
    monkeypatch.setattr("shared.preflight.reader.subprocess.Popen", None)
    assert checked.check(tasks_for(path), SETTINGS)[1].code == "dynamic_shape"
    assert store.stats > asked


def test_a_slow_store_delays_a_request_by_no_more_than_the_limit_and_refuses_none(
        folder: Folder, use: Callable[..., Store]) -> None:
    path, checked, hold = folder.put("bad.onnx", b"bad"), Admission(), threading.Event()
    use(lambda: hold.wait(60))
    began = time.monotonic()
    assert checked.check(tasks_for(path), Settings(preflight_s=0.2)) is None
    assert 0.2 <= time.monotonic() - began < 20
    hold.set()


def test_requests_beyond_the_checks_that_may_run_at_once_do_not_wait(folder: Folder, use: Callable[..., Store]) -> None:
    checked, hold = Admission(), threading.Event()
    use(lambda: hold.wait(60))
    paths = [folder.put(f"bad{number}.onnx", b"bad") for number in range(3)]
    answers: list[object] = []
    threads = [threading.Thread(target=lambda path=path: answers.append(checked.check(tasks_for(path), SETTINGS)))
               for path in paths[:2]]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(checked._running) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    assert checked.check(tasks_for(paths[2]), SETTINGS) is None and time.monotonic() - began < 20
    hold.set()
    for thread in threads:
        thread.join()
    assert [answer[1].code for answer in answers] == ["model_unreadable"] * 2


def test_equal_requests_at_once_are_one_check(folder: Folder, use: Callable[..., Store]) -> None:
    path, checked, there = folder.put("twice.onnx", b"bad"), Admission(), threading.Barrier(8 + 1)
    answers: list[Any] = []

    def ask() -> None:
        there.wait(60)
        answers.append(checked.check(tasks_for(path), SETTINGS))

    store = use(lambda: time.sleep(1.0))  # meanwhile the others have come
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    there.wait(60)
    for thread in threads:
        thread.join()
    assert [answer[1].code for answer in answers] == ["model_unreadable"] * 8 and store.stats == 2


def test_a_store_that_is_away_refuses_nothing(folder: Folder, use: Callable[..., Store]) -> None:
    def away() -> None:
        raise Unavailable("files")

    use(away)
    assert Admission().check(tasks_for("models/m.onnx"), SETTINGS) is None


def test_a_model_that_is_not_small_is_not_looked_at(folder: Folder, use: Callable[..., Store],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_MODEL_BYTES", 2)
    use()
    assert Admission().check(tasks_for(folder.put("large.onnx", b"bad")), SETTINGS) is None
    assert Admission().check(tasks_for(folder.put("small.onnx", b"ba")), SETTINGS) is not None


def test_switched_off_it_refuses_nothing(folder: Folder, use: Callable[..., Store]) -> None:
    use()
    path = folder.put("off.onnx", b"bad")
    admission.refuse_hopeless(tasks_for(path), Settings(preflight=False), several=False)
    with pytest.raises(InvalidRequest, match="model_unreadable"):
        admission.refuse_hopeless(tasks_for(path), SETTINGS, several=False)
