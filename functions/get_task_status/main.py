"""GET /tasks/{task_id}/status: a task's status, for clients that wait."""
from __future__ import annotations

from shared.api.http import endpoint
from shared.api.tasks import require_task
from shared.api.views import TaskRef
from shared.documents import Status
from shared.errors import NotFound
from shared.schema import Model
from shared.texts import Text


class TaskStatus(Model):
    task_id: str
    status: Status
    is_completed: bool
    is_failed: bool


@endpoint("GET", "/tasks/{task_id}/status", scope="read",
          title=Text("获取任务状态: 获取指定任务的当前状态", "A task's current status"),
          message=Text("获取任务状态成功", "status found"),
          errors=(NotFound,))
def get_task_status(ref: TaskRef) -> TaskStatus:
    status = require_task(ref.task_id).status
    return TaskStatus(task_id=ref.task_id, status=status, is_completed=status == Status.COMPLETED,
                      is_failed=status == Status.FAILED)
