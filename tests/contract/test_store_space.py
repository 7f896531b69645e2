"""Every store names the stages that its tasks have recorded, and takes no more room than its tasks need."""
from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from shared.documents import StageRecord, Status
from shared.store import Store, open_store
from shared.store.sqlite_space import KEPT_PAGES
from tests.contract.store_model import TIMEOUT_S, make_task

pytest_plugins = ["tests.contract.store_backends"]


def record(key: str) -> StageRecord:
    return StageRecord(name=f"stage {key}", key=key, output_digest="0" * 64, seconds=1.5, cached=False)


def insert(store: Store, status: Status, *keys: str) -> str:
    task = make_task(status=status, stages=[record(key) for key in keys])
    store.insert(task)
    return task.id


# --- the keys of recorded stages --------------------------------------------------------------------------------------


def test_the_keys_of_recorded_stages_are_told_by_their_tasks_statuses(store: Store) -> None:
    insert(store, Status.PENDING)
    insert(store, Status.RUNNING, "a", "b")
    insert(store, Status.PAUSED, "b", "c")
    insert(store, Status.COMPLETED, "d")
    insert(store, Status.FAILED, "e", "a")
    assert store.stage_keys() == {"a", "b", "c", "d", "e"}
    assert store.stage_keys(statuses=[Status.PENDING, Status.RUNNING, Status.PAUSED]) == {"a", "b", "c"}
    assert store.stage_keys(statuses=[Status.PENDING]) == set()


def test_of_some_keys_those_are_told_that_a_task_has_recorded(store: Store) -> None:
    first = insert(store, Status.COMPLETED, "a", "b")
    second = insert(store, Status.RUNNING, "b", "c")
    assert store.stage_keys(among=["a", "b", "x"]) == {"a", "b"}
    assert store.stage_keys(among=["a", "c"], statuses=[Status.RUNNING]) == {"c"}
    assert store.stage_keys(among=[]) == set()
    store.delete(first)
    assert store.stage_keys(among=["a", "b", "x"]) == {"b"}
    store.delete(second)
    assert store.stage_keys() == set()


def test_thousands_of_keys_may_be_asked_for_at_once(store: Store) -> None:
    for number in range(3):
        insert(store, Status.COMPLETED, *(f"{number}-{stage}" for stage in range(8)))
    asked = [f"{number}-{stage}" for number in range(1000) for stage in range(8)]
    assert store.stage_keys(among=asked) == {f"{number}-{stage}" for number in range(3) for stage in range(8)}


# --- space ------------------------------------------------------------------------------------------------------------


def tidy_up(store: Store) -> int:
    """Steps until nothing is left to give; each gives something."""
    steps = 0
    while store.tidy():
        steps += 1
    return steps


def fill(store: Store, count: int) -> list[str]:
    tasks = [make_task(parameters={"text": "x" * 40_000}) for _ in range(count)]
    for task in tasks:
        store.insert(task)
    return [task.id for task in tasks]


def test_what_is_left_after_tidying_is_what_was_there(store: Store) -> None:
    kept, gone = fill(store, 5), fill(store, 40)
    before = {task_id: store.get(task_id) for task_id in kept}
    for task_id in gone:
        store.delete(task_id)
    tidy_up(store)
    assert {task_id: store.get(task_id) for task_id in kept} == before
    assert store.get_many(gone) == {} and store.tidy(all_at_once=True) >= 0
    assert fill(store, 1)


def file_of(folder: Path) -> str:
    return f"sqlite:{folder / 'tasks.db'}"


def taken(folder: Path) -> int:
    """With the write-ahead log."""
    return sum(path.stat().st_size for path in folder.glob("tasks.db*"))


def test_a_sqlite_file_becomes_small_again_step_by_step(tmp_path: Path) -> None:
    store, other = open_store(file_of(tmp_path), TIMEOUT_S), open_store(file_of(tmp_path), TIMEOUT_S)
    ids = fill(store, 250)
    full = taken(tmp_path)
    for task_id in ids[:-1]:
        store.delete(task_id)
    assert taken(tmp_path) >= full
    first = store.tidy()
    assert 100 * 4096 < first < full / 2 and other.get(ids[-1])
    assert 0 < tidy_up(store) < 10
    assert taken(tmp_path) < 2 * KEPT_PAGES * 4096 < full / 4
    store.tidy(all_at_once=True)
    assert taken(tmp_path) < KEPT_PAGES * 4096
    assert other.get(ids[-1]) == store.get(ids[-1]) and fill(other, 3)


@pytest.mark.parametrize("all_at_once", [False, True])
def test_a_sqlite_file_of_an_earlier_version_becomes_small_too(tmp_path: Path, all_at_once: bool,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one only when a person asks for it: nobody can write meanwhile."""
    open_store(file_of(tmp_path), TIMEOUT_S).ping()
    connection = sqlite3.connect(tmp_path / "tasks.db", isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = NONE")
    connection.execute("VACUUM")
    connection.close()
    store = open_store(file_of(tmp_path), TIMEOUT_S)
    ids = fill(store, 100)
    full = taken(tmp_path)
    for task_id in ids[1:]:
        store.delete(task_id)
    monkeypatch.setattr("shared.store.sqlite_space.REBUILT_BYTES", 1000)
    if all_at_once:
        assert store.tidy(all_at_once=True) > 90 * 40_000  # of the texts that were deleted
    else:
        assert store.tidy() == 0
        monkeypatch.undo()
        assert store.tidy() > 90 * 40_000
    assert taken(tmp_path) < full / 4
    assert store.get_many(ids).keys() == {ids[0]}
    for task_id in fill(store, 100):
        store.delete(task_id)
    assert tidy_up(store) > 0  # from now on step by step
