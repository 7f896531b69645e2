"""Reading tasks: finding one, and what clients see of it."""
from __future__ import annotations

import time

from shared.access import seen_tenant
from shared.api.views import TaskView, WaitsFor, view_task
from shared.creation.requests import MAX_TARGETS
from shared.deps import get_store
from shared.documents import Status, Task, WorkerInfo
from shared.errors import NotFound
from shared.schema import Model
from shared.store import TaskFilter
from shared.transitions import WAITING

LIVE_S = 30.0  # a worker that has not been seen for so long counts as gone


class TaskState(Model):
    task_id: str
    status: Status


class TaskGroup(Model):
    """The tasks of a request with several targets, in their order."""

    group_id: str
    tasks: list[TaskState]


def view_created(tasks: list[Task]) -> TaskState | TaskGroup:
    """The answer to a create request. It always says `pending`, so that a repeated request gets the same answer."""
    states = [TaskState(task_id=task.id, status=Status.PENDING) for task in tasks]
    group_id = tasks[0].group_id
    return states[0] if group_id is None else TaskGroup(group_id=group_id, tasks=states)


def live_workers() -> list[WorkerInfo]:
    """The workers that were seen lately. Only people read this; no rule depends on it."""
    since = time.time() - LIVE_S
    return [worker for worker in get_store().workers() if worker.seen_at >= since]


def view_tasks(tasks: list[Task]) -> list[TaskView]:
    """What clients see of the tasks, with what each of them waits for."""
    workers = live_workers() if any(task.status in WAITING for task in tasks) else []
    return [view_task(task, _waits_for(task, workers)) for task in tasks]


def _waits_for(task: Task, workers: list[WorkerInfo]) -> WaitsFor | None:
    if task.status not in WAITING:
        return None
    if task.owner is not None:
        return task.waits_for if any(worker.id == task.owner for worker in workers) else "store"
    if not any(task.platform in worker.platforms for worker in workers):
        return "worker"
    return (task.waits_for or "delay") if task.next_run_at > time.time() else "slot"


def require_task(task_id: str) -> Task:
    """The task.

    Raises:
        NotFound: there is none with this id, or it is another tenant's.
        UnreadableDocument: its document is damaged or of another version.
    """
    task = get_store().get(task_id, tenant=seen_tenant())
    if task is None:
        raise task_not_found()
    return task


def group_task_ids(group_id: str) -> list[str]:
    """The group's tasks, unreadable ones too.

    Raises:
        NotFound: there are none.
    """
    tasks, _ = get_store().list_page(TaskFilter(group_id=group_id, tenant=seen_tenant()), 1, MAX_TARGETS)
    if not tasks:
        raise NotFound("任务组不存在", "task group not found")
    return [task.id for task in tasks]


def task_not_found() -> NotFound:
    return NotFound("任务不存在", "task not found")
