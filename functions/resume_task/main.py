"""POST /tasks/resume: a paused task goes on, with its owner if that has not parked it yet, else with any worker."""
from __future__ import annotations

from shared.deps import get_queue, get_store
from shared.doorbells import nudge, ring
from shared.errors import NotFound
from shared.http import Message, endpoint
from shared.models import Status, TaskRef
from shared.tasks import TaskState, change_task
from shared.transitions import resume


@endpoint("POST", "/tasks/resume",
          title=Message("恢复任务: 只能恢复状态为 paused 的任务", "Resume a paused task"),
          message=Message("任务恢复成功", "task resumed"), errors=(NotFound,))
def resume_task(ref: TaskRef) -> TaskState:
    task = change_task(ref.task_id, resume, Status.PAUSED, "恢复", "resume")
    if task.owner:
        nudge(task, get_queue())
    else:
        ring(task, get_store(), get_queue())
    return TaskState(task_id=task.id, status=task.status)
