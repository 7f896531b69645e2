"""POST /tasks/query: one task with all its details."""
from __future__ import annotations

from shared.api.http import endpoint
from shared.api.tasks import require_task, view_tasks
from shared.api.views import TaskRef, TaskView
from shared.errors import NotFound
from shared.schema import Model
from shared.texts import Text


class TaskFound(Model):
    task_id: str
    task_info: TaskView


@endpoint("POST", "/tasks/query", scope="read",
          title=Text("单任务查询: 根据任务ID查询任务的详细信息", "A task's details, by its id"),
          message=Text("获取任务信息成功", "task found"), errors=(NotFound,))
def query_task(ref: TaskRef) -> TaskFound:
    return TaskFound(task_id=ref.task_id, task_info=view_tasks([require_task(ref.task_id)])[0])
