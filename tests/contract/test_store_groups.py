"""What every store does with the tasks of one request: all or none, and found again by their keys."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.errors import AppError
from shared.store import DuplicateKey, Store, TaskFilter
from shared.transitions import created
from tests.contract.store_model import make_task
from tests.contract.test_store import ODD_TEXT

pytest_plugins = ["tests.contract.store_backends"]


def members(key: str | None, count: int = 3):
    return [make_task(idempotency_key=key and f"{key}#{index}", group_id="group_1") for index in range(count)]


def insert(store: Store, tasks):
    store.insert_group([(task, [created(task)]) for task in tasks])


def total(store: Store) -> int:
    return store.list_page(TaskFilter(), 1, 1)[1]


def test_the_tasks_of_a_group_are_stored_whole_each_with_its_events(store: Store):
    tasks = members(None)
    insert(store, tasks)
    for task in tasks:
        assert store.get(task.id) == task.model_copy(update={"event_count": 1})
        assert [(event.seq, event.type) for event in store.events(task.id)] == [(1, "created")]


def test_a_group_whose_first_key_is_taken_leaves_nothing(store: Store):
    first, second = members("k"), members("k")
    insert(store, first)
    with pytest.raises(DuplicateKey) as refused:
        insert(store, second)
    assert refused.value.existing.id == first[0].id
    assert total(store) == 3 and store.get_many([task.id for task in second]) == {}


def test_a_group_does_not_store_what_comes_after_a_taken_key(store: Store):
    tasks = members("k")
    taken = make_task(idempotency_key="k#1")
    store.insert(taken)
    with pytest.raises(DuplicateKey) as refused:
        insert(store, tasks)
    assert refused.value.existing == taken
    assert not store.get_many([tasks[1].id, tasks[2].id])


def test_a_group_with_a_known_id_is_refused(store: Store):
    tasks = members(None)
    store.insert(tasks[0])
    with pytest.raises(AppError, match="task exists"):
        insert(store, tasks)
    assert not store.get_many([tasks[1].id, tasks[2].id])


def test_of_many_equal_groups_at_once_one_is_stored(shared_store: Store):
    groups = [members("race", 4) for _ in range(8)]

    def race(tasks) -> bool:
        try:
            insert(shared_store, tasks)
        except DuplicateKey:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, groups))
    assert won.count(True) == 1
    assert set(shared_store.get_many([task.id for tasks in groups for task in tasks])) == {
        task.id for task in groups[won.index(True)]}


def test_tasks_are_found_by_their_keys(store: Store):
    tasks = members("k")
    insert(store, tasks)
    store.insert(make_task())
    found = store.find_by_keys(["k#0", "k#2", "k", "", "k#9"])
    assert {key: task.id for key, task in found.items()} == {"k#0": tasks[0].id, "k#2": tasks[2].id}
    assert store.find_by_keys([]) == {}


def test_a_key_may_be_any_text(store: Store):
    task = make_task(idempotency_key=ODD_TEXT)
    store.insert(task)
    assert store.find_by_keys([ODD_TEXT, "k"]) == {ODD_TEXT: task}
