"""Which writes make a task one to tell of; `test_store_outbox.py` has what marks do."""
from __future__ import annotations

import pytest

from shared import transitions
from shared.announcements.changes import mark_told
from shared.documents import Event, Task
from shared.store import Store
from tests.contract.store_model import make_task
from tests.contract.store_raw import edit_raw

pytest_plugins = ["tests.contract.store_backends"]

CREATED = Event(type="created", at=1.0)


def insert(store: Store, *events: Event) -> Task:
    task = make_task()
    store.insert(task, events)
    return task


def untold(store: Store, limit: int = 10) -> list[str]:
    return [task.id for task in store.untold(limit=limit)]


def seen(store: Store, task: Task) -> Task:
    found = store.get(task.id)
    assert found is not None
    return found


def test_each_write_with_events_is_found_and_none_without(store: Store) -> None:
    silent, first = insert(store), insert(store, CREATED)
    grouped = [make_task(), make_task()]
    store.insert_group([(grouped[0], [CREATED]), (grouped[1], [])])
    assert untold(store) == [first.id, grouped[0].id]
    assert store.update(silent.id, transitions.mark_announced(0))  # a change without events
    assert untold(store) == [first.id, grouped[0].id]
    assert store.update(silent.id, transitions.claim("w1"))
    assert untold(store) == [silent.id, first.id, grouped[0].id]
    assert untold(store, limit=2) == [silent.id, first.id]


def test_of_two_who_have_told_the_same_one_marks_it(store: Store) -> None:
    task = insert(store, CREATED)
    before = seen(store, task)
    assert store.update(task.id, mark_told(before, 1, all_told=True))
    assert store.update(task.id, mark_told(before, 1, all_told=True)) is None
    assert store.update(task.id, mark_told(before, 1, all_told=False)) is None
    assert untold(store) == [] and seen(store, task).told == 1


@pytest.mark.parametrize("limit", [1, 3])
def test_what_cannot_be_read_keeps_no_other_from_being_found(store: Store, limit: int) -> None:
    tasks = [insert(store, CREATED) for _ in range(4)]
    for task in tasks[:2]:
        edit_raw(store, task.id, status="archived")
    assert untold(store, limit) == [task.id for task in tasks[2:]][:limit]


def test_a_deleted_task_is_not_found(store: Store) -> None:
    task = insert(store, CREATED)
    store.delete(task.id)
    assert untold(store) == []
