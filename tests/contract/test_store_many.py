"""What every store does with many tasks at once that have nothing to do with each other."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.documents import Task
from shared.errors import AppError
from shared.store import Store, TaskFilter
from shared.transitions import Change, created
from tests.contract.store_model import make_task
from tests.contract.test_store import ODD_TEXT

pytest_plugins = ["tests.contract.store_backends"]


def insert(store: Store, tasks: list[Task]) -> set[str]:
    return store.insert_many([(task, [created(task)]) for task in tasks])


def total(store: Store) -> int:
    return store.list_page(TaskFilter(), 1, 1)[1]


def test_each_is_stored_with_its_events_and_is_owed_to_listeners(store: Store) -> None:
    tasks = [make_task(idempotency_key=key) for key in ("a", ODD_TEXT, None, None)]
    assert insert(store, tasks) == set()
    for task in tasks:
        assert store.get(task.id) == task.model_copy(update={"event_count": 1})
        assert [(event.seq, event.type) for event in store.events(task.id) or []] == [(1, "created")]
    assert {task.id for task in store.untold(limit=10)} == {task.id for task in tasks}
    assert store.insert_many([]) == set()


def test_a_taken_key_keeps_out_its_own_task_alone(store: Store) -> None:
    first = make_task(idempotency_key="k3")
    store.insert(first)
    tasks = [make_task(idempotency_key=f"k{number}") for number in range(6)]
    assert insert(store, tasks) == {tasks[3].id}
    assert store.get_many([task.id for task in tasks]).keys() == {task.id for task in tasks} - {tasks[3].id}
    assert store.find_by_keys(["k3"])["k3"].id == first.id


def test_all_keys_may_be_taken(store: Store) -> None:
    tasks = [make_task(idempotency_key=f"k{number}") for number in range(3)]
    insert(store, tasks)
    again = [make_task(idempotency_key=f"k{number}") for number in range(3)]
    assert insert(store, again) == {task.id for task in again} and total(store) == 3


def test_of_two_with_one_key_one_is_stored(store: Store) -> None:
    tasks = [make_task(idempotency_key="k") for _ in range(2)]
    (left_out,) = insert(store, tasks)
    assert store.get_many([task.id for task in tasks]).keys() == {task.id for task in tasks} - {left_out}


def test_a_known_id_is_refused(store: Store) -> None:
    task = make_task(idempotency_key="k")
    store.insert(task)
    with pytest.raises(AppError, match="task exists"):
        insert(store, [make_task(), task.model_copy(update={"idempotency_key": "other"})])
    assert store.find_by_keys(["other"]) == {}


def test_of_many_that_insert_the_same_at_once_each_key_is_stored_once(shared_store: Store) -> None:
    several = [[make_task(idempotency_key=f"k{number}") for number in range(30)] for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        left_out = list(pool.map(lambda tasks: insert(shared_store, tasks), several))
    stored = {task.id for tasks in several for task in tasks} - set().union(*left_out)
    assert total(shared_store) == len(stored) == 30
    assert {task.id for task in shared_store.find_by_keys([f"k{number}" for number in range(30)]).values()} == stored


def test_equal_changes_of_several_tasks_and_of_one(shared_store: Store) -> None:
    """Not on mongomock: its bulk writes do not fit the current driver."""
    tasks = [make_task() for _ in range(3)]
    insert(shared_store, tasks)
    once_more, high = Change({"status": "pending"}, increment={"retries": 1}), Change({}, {"priority": "high"})
    shared_store.update_many([(task.id, once_more) for task in (*tasks, tasks[0])] + [(tasks[1].id, high)])
    found = [shared_store.get(task.id) for task in tasks]
    assert [(task.retries, task.priority) for task in found if task] == [(2, "normal"), (1, "high"), (1, "normal")]
