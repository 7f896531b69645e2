"""What the functions do with tasks: find one or say so, and change one or say why not."""
from __future__ import annotations

from collections.abc import Callable

from shared.deps import get_store
from shared.errors import InvalidTransition, NotFound, Unavailable
from shared.models import Model, Status, Task
from shared.transitions import Change

ATTEMPTS = 3


class TaskState(Model):
    task_id: str
    status: Status


def require_task(task_id: str) -> Task:
    """The task.

    Raises:
        NotFound: there is none with this id.
    """
    task = get_store().get(task_id)
    if task is None:
        raise NotFound("任务不存在", "task not found")
    return task


def change_task(task_id: str, make_change: Callable[[], Change], allowed: Status, verb_zh: str, verb_en: str) -> Task:
    """Apply a client's change to a task that must be in the state `allowed`; the new document.

    Raises:
        NotFound: there is no such task.
        InvalidTransition: it is in another state; the message names it.
        Unavailable: it changed its state between each attempt and the look at it.
    """
    for _ in range(ATTEMPTS):
        changed = get_store().update(task_id, make_change())
        if changed is not None:
            return changed
        status = require_task(task_id).status
        if status != allowed:
            raise InvalidTransition(
                f"任务{verb_zh}失败: 只能{verb_zh}状态为 {allowed.value} 的任务, 当前状态: {status.value}",
                f"cannot {verb_en} the task: only a {allowed.value} task can be {verb_en}d, this one is {status.value}")
    raise Unavailable("store", f"task {task_id} keeps changing")
