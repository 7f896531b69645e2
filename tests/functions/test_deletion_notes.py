"""A task is deleted before its objects are, and whoever deletes it may die at any moment."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.api.deletion import delete_tasks
from shared.cached.deletions import KEEP_S, Deletions
from shared.documents import Task, new_task_id
from shared.errors import Unavailable
from shared.files import Files
from shared.marks import mark_of, write_mark
from shared.settings import get_settings
from shared.store import Store


class Housekeeping:
    """Looks at the notes at moments of the test's own clock."""

    def __init__(self, store: Store, files: Files) -> None:
        self.now = 0.0
        self._files, self._deletions = files, Deletions(files, store, get_settings(), clock=lambda: self.now)

    def look(self, at: float) -> None:
        self.now = at
        self._deletions.look()

    def notes(self) -> list[str]:
        prefix = f"{get_settings().cache_bucket}/housekeeping/deletions/"
        return [info.path for info in self._files.find(prefix)]


@pytest.fixture
def housekeeping(store: Store, files: Files) -> Housekeeping:
    return Housekeeping(store, files)


@pytest.fixture
def publish(files: Files, tmp_path: Path) -> Callable[[Task], None]:
    def publish(task: Task) -> None:
        (tmp_path / "artefact").write_text("<net/>")
        files.upload(tmp_path / "artefact", task.output_path, mark=write_mark(mark_of(task), task.output_path))

    return publish


@pytest.fixture
def ended(add: Callable[..., Task], publish: Callable[[Task], None]) -> Task:
    """A task that has objects, and no owner."""
    task_id = new_task_id()
    task = add(id=task_id, status="failed", epoch=1, output_path=f"results/{task_id}/a.xml")
    publish(task)
    return task


def fail(*arguments: object, **named: object) -> None:
    raise Unavailable("store")


def test_a_task_that_cannot_be_deleted_keeps_its_objects(store: Store, files: Files, ended: Task,
                                                         housekeeping: Housekeeping,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(type(store), "delete", fail)
        with pytest.raises(Unavailable):
            delete_tasks([ended.id])
    assert files.stat(ended.output_path) and store.get(ended.id)
    for at in (0.0, KEEP_S / 2, KEEP_S + 1):
        housekeeping.look(at)
    assert files.stat(ended.output_path) and housekeeping.notes() == []


def test_nothing_is_left_to_do_after_a_deletion(files: Files, ended: Task, housekeeping: Housekeeping) -> None:
    assert delete_tasks([ended.id]) == {ended.id: True}
    assert files.stat(ended.output_path) is None and housekeeping.notes() == []


def test_what_is_left_when_the_object_store_goes_away_is_removed_later(store: Store, files: Files, ended: Task,
                                                                       housekeeping: Housekeeping,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("shared.api.deletion.delete_objects", fail)
        assert delete_tasks([ended.id]) == {ended.id: True}
    assert files.stat(ended.output_path) and store.get(ended.id) is None
    housekeeping.look(0.0)
    housekeeping.look(get_settings().lease_s)
    assert files.stat(ended.output_path) is None
    housekeeping.look(KEEP_S)
    assert housekeeping.notes() == []


@pytest.mark.parametrize("claimed", ["before", "meanwhile"])
def test_what_a_worker_publishes_for_a_deleted_task_before_it_is_killed_is_removed(
        store: Store, files: Files, add: Callable[..., Task], publish: Callable[[Task], None], claimed: str,
        housekeeping: Housekeeping, monkeypatch: pytest.MonkeyPatch) -> None:
    task_id = new_task_id()
    running = {"status": "running", "owner": "w1", "epoch": 1}
    task = add(id=task_id, output_path=f"results/{task_id}/a.xml", **(running if claimed == "before" else {}))
    owned = task.model_copy(update=running)
    delete_one = type(store).delete
    monkeypatch.setattr(type(store), "delete", lambda self, task_id, **_: delete_one(self, task_id) and owned)
    assert delete_tasks([task_id]) == {task_id: True}
    publish(owned)
    housekeeping.look(0.0)
    assert files.stat(task.output_path)
    housekeeping.look(get_settings().lease_s)
    assert files.stat(task.output_path) is None
    publish(owned)
    housekeeping.look(KEEP_S)
    assert files.stat(task.output_path) is None and housekeeping.notes() == []


def test_a_note_that_somebody_has_spoilt_harms_nothing(files: Files, ended: Task, tmp_path: Path,
                                                       housekeeping: Housekeeping) -> None:
    folder = f"{get_settings().cache_bucket}/housekeeping/deletions"
    for number, text in enumerate(("no json", '{"folders": {"../..": "results/"}}', '{"folders": 3}',
                                   '{"folders": {"task_1700000000_1234567890": "results/"}}')):
        (tmp_path / "note").write_text(text)
        files.upload(tmp_path / "note", f"{folder}/{number}.json")
    for at in (0.0, KEEP_S / 2, KEEP_S):
        housekeeping.look(at)
    assert files.stat(ended.output_path) and housekeeping.notes() == []
