"""POST /tasks/pause: a running task is paused at once; its owner is told, and parks it."""
from __future__ import annotations

from shared.deps import get_queue
from shared.doorbells import nudge
from shared.errors import NotFound
from shared.http import Message, endpoint
from shared.models import Status, TaskRef
from shared.tasks import TaskState, change_task
from shared.transitions import pause


@endpoint("POST", "/tasks/pause",
          title=Message("暂停任务: 只能暂停状态为 running 的任务", "Pause a running task"),
          message=Message("任务暂停成功", "task paused"), errors=(NotFound,))
def pause_task(ref: TaskRef) -> TaskState:
    task = change_task(ref.task_id, pause, Status.RUNNING, "暂停", "pause")
    if task.owner:
        nudge(task, get_queue())
    return TaskState(task_id=task.id, status=task.status)
