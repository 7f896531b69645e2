"""POST /tasks/create: accept a conversion."""
from __future__ import annotations

from shared.api.http import endpoint
from shared.api.tasks import TaskGroup, TaskState, view_created
from shared.creation.create import create_tasks
from shared.creation.requests import CreateTask
from shared.errors import Conflict
from shared.texts import Text


@endpoint("POST", "/tasks/create", scope="write",
          title=Text("创建任务: 提交模型转换", "Submit a conversion, to one target or to several at once"),
          message={TaskState: Text("任务创建成功", "task created"), TaskGroup: Text("任务创建成功", "tasks created")},
          errors=(Conflict,), lane="create")
def create_task(request: CreateTask) -> TaskState | TaskGroup:
    return view_created(create_tasks(request))
