"""A task says what it waits for."""
from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from shared import transitions
from shared.documents import Task, WorkerInfo
from shared.store import Store
from tests.functions.service import Caller


def live(store: Store, *platforms: str) -> None:
    now = time.time()
    store.save_worker(WorkerInfo(id="w", host="h", pid=1, platforms={name: {} for name in platforms}, slots=1,
                                 started_at=now, seen_at=now))


def waiting_for(call: Caller, task: Task) -> str | None:
    told = call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).data["task_info"]["waits_for"]
    listed = call("list_tasks", "POST", "/tasks/list", json={}).data["tasks"]
    assert [view["waits_for"] for view in listed if view["id"] == task.id] == [told]
    return told


def test_a_task_waits_for_a_worker_until_one_serves_its_target(call: Caller, store: Store,
                                                               add: Callable[..., Task]) -> None:
    task = add()
    assert waiting_for(call, task) == "worker"
    live(store, "another")
    assert waiting_for(call, task) == "worker"
    live(store, "another", task.platform)
    assert waiting_for(call, task) == "slot"
    store.update(task.id, transitions.claim("w"))
    assert waiting_for(call, task) is None


def test_a_task_whose_retry_is_due_later_waits_for_that(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add(next_run_at=time.time() + 60)
    live(store, task.platform)
    assert waiting_for(call, task) == "delay"


@pytest.mark.parametrize("waits_for", ["stage", "files"])
def test_a_task_says_what_its_owner_waits_for(call: Caller, store: Store, add: Callable[..., Task],
                                              waits_for: str) -> None:
    task = add()
    live(store, task.platform)
    store.update(task.id, transitions.claim("w"))
    store.update(task.id, transitions.wait("w", 1, waits_for))
    assert waiting_for(call, task) == waits_for
    store.update(task.id, transitions.end_wait("w", 1))
    assert waiting_for(call, task) is None


def test_a_task_that_was_given_back_says_why_until_it_is_due(call: Caller, store: Store,
                                                             add: Callable[..., Task]) -> None:
    task = add()
    live(store, task.platform)
    store.update(task.id, transitions.claim("w"))
    store.update(task.id, transitions.release("w", 1, 60.0, "files"))
    assert waiting_for(call, task) == "files"
    store.update(task.id, transitions.Change({}, {"next_run_at": 0.0}))
    assert waiting_for(call, task) == "slot"


def test_a_task_whose_worker_was_not_heard_of_lately_waits_for_the_store(call: Caller, store: Store,
                                                                         add: Callable[..., Task]) -> None:
    task = add()
    live(store, task.platform)
    store.update(task.id, transitions.claim("another"))
    assert waiting_for(call, task) == "store"


def test_a_task_that_ended_waits_for_nothing(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add()
    store.update(task.id, transitions.cancel())
    assert waiting_for(call, task) is None
