"""What the functions know of a task."""
from __future__ import annotations

from shared.deps import get_store
from shared.errors import NotFound
from shared.models import Model, Status, Task


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
        raise task_not_found()
    return task


def task_not_found() -> NotFound:
    return NotFound("任务不存在", "task not found")
