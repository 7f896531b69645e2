"""What a task that nobody works on waits for is visible."""
from __future__ import annotations

import time
from collections.abc import Callable

from shared import transitions
from shared.documents import Task, WorkerInfo
from shared.store import Store
from tests.functions.service import Caller


def live(store: Store, *platforms: str) -> None:
    now = time.time()
    store.save_worker(WorkerInfo(id="w", host="h", pid=1, platforms={name: {} for name in platforms}, slots=1,
                                 started_at=now, seen_at=now))


def waits_for(call: Caller, task: Task) -> str | None:
    told = call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).data["task_info"]["waits_for"]
    listed = call("list_tasks", "POST", "/tasks/list", json={}).data["tasks"]
    assert [view["waits_for"] for view in listed if view["id"] == task.id] == [told]
    return told


def test_a_task_waits_for_a_worker_until_one_serves_its_target(call: Caller, store: Store,
                                                               add: Callable[..., Task]) -> None:
    task = add()
    assert waits_for(call, task) == "worker"
    live(store, "another")
    assert waits_for(call, task) == "worker"
    live(store, "another", task.platform)
    assert waits_for(call, task) == "slot"
    store.update(task.id, transitions.claim("w"))
    assert waits_for(call, task) is None


def test_a_task_whose_retry_is_due_later_waits_for_that(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add(next_run_at=time.time() + 60)
    live(store, task.platform)
    assert waits_for(call, task) == "delay"


def test_a_task_that_ended_waits_for_nothing(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add()
    store.update(task.id, transitions.cancel())
    assert waits_for(call, task) is None
