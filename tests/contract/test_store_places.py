"""Places among so many tasks: exact, however many ask at once."""
from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import transitions
from shared.documents import Status, new_task_id
from shared.store import PLACE_S, Store, TaskFilter
from tests.contract.store_model import make_task
from tests.contract.store_processes import race

pytest_plugins = ["tests.contract.store_backends"]

PENDING = TaskFilter(status=Status.PENDING)


def take(store: Store, *task_ids: str, most: int, count: str = "all", narrow: TaskFilter = PENDING) -> bool:
    return store.take_places(count, task_ids, most, narrow)


def test_tasks_that_are_stored_and_tasks_that_have_a_place_count_once_each(store: Store) -> None:
    store.insert(make_task(id="stored"))
    store.insert(make_task(id="ended", status="failed"))
    assert take(store, "a", "b", most=3) and not take(store, "c", most=3)
    store.insert(make_task(id="a"))
    assert not take(store, "c", most=3) and take(store, "c", most=4)


def test_a_place_that_is_left_is_free_unless_its_task_is_there(store: Store) -> None:
    assert take(store, "a", "b", most=2)
    store.insert(make_task(id="a"))
    store.leave_places("all", ["a", "b"])
    assert not take(store, "c", "d", most=2) and take(store, "c", most=2)


def test_a_place_that_a_task_has_is_taken_once(store: Store) -> None:
    assert all(take(store, "a", most=1) for _ in range(3))
    store.insert(make_task(id="a"))
    store.leave_places("all", ["a"])
    assert take(store, "a", most=1) and not take(store, "b", most=1)


def test_all_of_a_request_have_places_or_none(store: Store) -> None:
    assert not take(store, "a", "b", "c", most=2)
    assert take(store, "d", "e", most=2)


def test_a_task_that_begins_makes_room(store: Store) -> None:
    store.insert(make_task(id="a"))
    assert not take(store, "b", most=1)
    assert store.update("a", transitions.claim("w1"))
    assert take(store, "b", most=1)


def test_each_count_has_places_and_a_filter_of_its_own(store: Store) -> None:
    store.insert(make_task(id="a", labels={"team": "red"}))
    red, blue = (TaskFilter(status=Status.PENDING, labels={"team": team}) for team in ("red", "blue"))
    assert not take(store, "b", most=1, count="red", narrow=red)
    assert take(store, "b", most=1, count="blue", narrow=blue)
    assert not take(store, "c", most=1, count="blue", narrow=blue)


def test_what_was_never_left_is_forgotten_after_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert take(store, "a", most=1) and not take(store, "b", most=1)
    now = time.time() + PLACE_S + 1
    monkeypatch.setattr(time, "time", lambda: now)
    assert take(store, "b", most=1)


def test_of_fifty_at_once_as_many_are_stored_as_there_is_room_for(shared_store: Store) -> None:
    def create(_: int) -> bool:
        task_id = new_task_id()
        if not take(shared_store, task_id, most=20):
            return False
        shared_store.insert(make_task(id=task_id))
        shared_store.leave_places("all", [task_id])
        return True

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(create, range(50))) == 20
    assert shared_store.list_page(PENDING, 1, 1)[1] == 20 and not take(shared_store, "more", most=20)


def test_processes_that_create_and_claim_at_once_never_go_beyond_it(store_url: str) -> None:
    """Each claims what it has stored, so that there is room again and again."""
    counts = race("fill_places", store_url, [[f"p{number}", 25, 3] for number in range(3)])
    assert all(stored == 25 and most_seen <= 3 for stored, most_seen in counts)
