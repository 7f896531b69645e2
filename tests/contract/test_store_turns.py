"""Turns at an output: of tasks that ask for one turn the store takes one."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.creation.turns import write_turn
from shared.store import Store, TaskFilter, TurnTaken
from tests.contract.store_model import make_task

pytest_plugins = ["tests.contract.store_backends"]


def test_a_turn_is_had_by_one_task_and_is_free_when_that_is_deleted(store: Store) -> None:
    first, second = make_task(output_turn=write_turn("a", 1)), make_task(output_turn=write_turn("a", 1))
    store.insert(first)
    with pytest.raises(TurnTaken):
        store.insert(second)
    assert store.get(second.id) is None and store.get(first.id) == first
    store.delete(first.id)
    store.insert(second)
    assert store.get(second.id) == second


def test_the_last_turn_is_the_highest_number_of_an_output(store: Store) -> None:
    assert store.last_turns(["a"]) == {} and store.last_turns([]) == {}
    for output, number in (("a", 9), ("a", 10), ("a", 2), ("ab", 70), ("b", 1)):
        store.insert(make_task(output_turn=write_turn(output, number)))
    store.insert(make_task())
    assert store.last_turns(["a", "b", "c"]) == {"a": 10, "b": 1}


def test_tasks_without_a_turn_do_not_collide(store: Store) -> None:
    for _ in range(3):
        store.insert(make_task())
    assert store.list_page(TaskFilter(), 1, 10)[1] == 3


def test_a_group_stops_at_a_turn_that_is_taken(store: Store) -> None:
    store.insert(make_task(output_turn=write_turn("a", 1)))
    group = [make_task(output_turn=write_turn("a", 1)), make_task(output_turn=write_turn("b", 1))]
    with pytest.raises(TurnTaken):
        store.insert_group([(task, []) for task in group])
    assert [store.get(task.id) for task in group] == [None, None]


def test_of_many_tasks_those_whose_turn_is_taken_are_left_out(store: Store) -> None:
    store.insert(make_task(output_turn=write_turn("a", 1)))
    turns = [("b", 1), ("a", 1), ("a", 2), ("b", 1)]
    tasks = [make_task(output_turn=write_turn(*turn)) for turn in turns]
    assert store.insert_many([(task, []) for task in tasks]) == {tasks[1].id, tasks[3].id}
    assert [store.get(task.id) is not None for task in tasks] == [True, False, True, False]


def test_of_many_that_ask_for_one_turn_at_once_one_gets_it(shared_store: Store) -> None:
    def ask(_: int) -> bool:
        try:
            shared_store.insert(make_task(output_turn=write_turn("a", 1)))
        except TurnTaken:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))).count(True) == 1
    assert shared_store.list_page(TaskFilter(), 1, 10)[1] == 1
