"""An upload has one task on a busy machine too, and one output has one task at a time."""
from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.deps import get_store
from shared.errors import Busy
from shared.preflight import reasons as checks
from shared.rules.onnx.bounds import Incomplete
from shared.triggers import companions, starting, taking
from tests.integration.toy_models import model_with_data_beside_it

if TYPE_CHECKING:
    from tests.integration.uploads_kit import Uploads

pytest_plugins = ["tests.integration.uploads_kit"]

TOO_BUSY = [Busy("繁忙", "no process can be started", 5), Incomplete(checks.TOO_SLOW), Incomplete(checks.TOO_EXPENSIVE)]


class UnreadHeaders:
    """A machine that is too busy to read any header."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def read(self, *_: object) -> object:
        raise self._error


@pytest.fixture
def model(uploads: Uploads, tmp_path: Path) -> bytes:
    """A model that is uploaded with its data beside it."""
    model, data = model_with_data_beside_it(tmp_path)
    uploads.put("intel/weights.bin", data)
    uploads.put("intel/m.onnx", model)
    return model


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("error", TOO_BUSY)
def test_an_upload_whose_header_cannot_be_read_in_time_waits_for_the_sweep(uploads: Uploads, error: Exception,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(companions, "get_headers", lambda: UnreadHeaders(error))
        taken = uploads.take_one("intel/m.onnx")
    assert taken.later and "too busy to read the model in time" in str(taken.ignored) and uploads.tasks() == []
    assert uploads.sweep() == ["intel/m.onnx"]
    (task,) = uploads.tasks()
    with monkeypatch.context() as patch:
        patch.setattr(companions, "get_headers", lambda: UnreadHeaders(error))
        assert uploads.take_one("intel/m.onnx").task_ids == (task.id,)
    assert uploads.take_one("intel/m.onnx").task_ids == (task.id,) and len(uploads.tasks()) == 1


@pytest.mark.parametrize("error", TOO_BUSY)
def test_an_upload_whose_header_the_sweep_cannot_read_either_has_one_task(uploads: Uploads, model: bytes,
                                                                         error: Exception,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next version is looked at as any other."""
    with monkeypatch.context() as patch:
        patch.setattr(companions, "get_headers", lambda: UnreadHeaders(error))
        assert uploads.sweep() == ["intel/m.onnx"]
    (task,) = uploads.tasks()
    assert uploads.take_one("intel/m.onnx").task_ids == (task.id,)
    uploads.remove("intel/weights.bin")
    uploads.put("intel/m.onnx", model + b"\x08\x08")
    assert "waits for the model's external data" in str(uploads.take_one("intel/m.onnx").ignored)


def test_a_model_that_is_replaced_while_its_header_is_read_is_looked_at_again(
        uploads: Uploads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = model_with_data_beside_it(tmp_path)
    uploads.put("intel/weights.bin", data)
    uploads.put("intel/m.onnx", b"another one")
    look_at = taking.look_at

    def replaced_then(*asked: Any) -> tuple[taking.Upload | None, bytes | None]:
        found = look_at(*asked)
        uploads.put("intel/m.onnx", model)
        return found
    with monkeypatch.context() as patch:
        patch.setattr(taking, "look_at", replaced_then)
        assert uploads.take_one("intel/m.onnx").later
    assert uploads.tasks() == [] and uploads.take_one("intel/m.onnx").is_new


def test_an_upload_waits_while_the_task_of_an_earlier_one_writes_there(start: Callable[..., Uploads], files_url: str
                                                                       ) -> None:
    uploads = start(files_url, '[[rule]]\nname = "a"\nbucket = "{bucket}"\ntarget = "intel"\n'
                               'output_prefix = "{bucket}-out/"\n')
    uploads.put("a.onnx", b"first")
    (first,) = uploads.take_one("a.onnx").task_ids
    uploads.put("a.onnx", b"second, longer")
    assert f"task {first} still writes" in str(uploads.take_one("a.onnx").ignored)
    assert uploads.sweep(2) == []
    get_store().delete(first)  # it has ended
    assert uploads.sweep() == ["a.onnx"]


ONE_OUTPUT = """
    [[rule]]
    name = "a"
    bucket = "{bucket}"
    prefix = "a/"
    target = "intel"
    output_prefix = "{bucket}-out/"
    [[rule]]
    name = "b"
    bucket = "{bucket}"
    prefix = "b/"
    target = "intel"
    output_prefix = "{bucket}-out/"
    """


@pytest.mark.parametrize("keys", [("a/m.onnx", "a/m.ONNX"), ("a/m.onnx", "b/m.onnx")])
def test_two_uploads_with_one_output_that_are_taken_at_once_have_one_task_at_a_time(
        start: Callable[..., Uploads], files_url: str, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both doors have seen that nobody writes there before one of them has stored its task."""
    uploads = start(files_url, ONE_OUTPUT)
    for number, key in enumerate(keys):
        uploads.put(key, b"a model" * (number + 1))
    look, both, looks = starting._busy_outputs, threading.Barrier(2), []

    def together(*asked: Any) -> object:
        found = look(*asked)
        looks.append(found)
        if len(looks) <= 2:
            both.wait(60)
        return found
    with monkeypatch.context() as patch:
        patch.setattr(starting, "_busy_outputs", together)
        with ThreadPoolExecutor(2) as pool:
            first, second = [one for entries in pool.map(uploads.take, keys) for one in entries]
    assert looks[:2] == [{}, {}]
    assert sorted([first.is_new, second.is_new]) == [False, True] and [first.later, second.later].count(True) == 1
    (task,) = uploads.tasks()
    assert f"task {task.id} still writes {uploads.bucket}-out/m.xml" in str(first.ignored or second.ignored)
    uploads.sweep()
    assert len(uploads.tasks()) == 1
    get_store().delete(task.id)  # it has ended
    uploads.sweep()
    (other,) = uploads.tasks()
    assert other.source is not None and task.source is not None and other.source.key != task.source.key


def test_a_group_that_was_cut_off_while_it_was_stored_does_not_wait_for_itself(start: Callable[..., Uploads],
                                                                              files_url: str) -> None:
    uploads = start(files_url, '[[rule]]\nname = "a"\nbucket = "{bucket}"\noutput_prefix = "{bucket}-out/"\n'
                               'targets = ["intel", { platform = "rockchip", parameters = { chip = "rk3588" } }]\n')
    key = uploads.put("a.onnx")
    first, second = uploads.take_one(key).task_ids
    get_store().delete(first)  # it is stored last
    taken = uploads.take_one(key)
    assert taken.is_new and second in taken.task_ids and len(uploads.tasks()) == 2
