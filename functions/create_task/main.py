"""POST /tasks/create: accept a conversion. The task is safe in the store before a worker is told of it."""
from __future__ import annotations

from shared.creation import build_task, insert_once
from shared.deps import get_queue, get_store
from shared.doorbells import ring
from shared.errors import Conflict
from shared.http import Message, endpoint
from shared.models import CreateTask, Status
from shared.settings import get_settings
from shared.tasks import TaskState


@endpoint("POST", "/tasks/create",
          title=Message("创建任务: 提交模型转换", "Submit a conversion"),
          message=Message("任务创建成功", "task created"), errors=(Conflict,))
def create_task(request: CreateTask) -> TaskState:
    task, is_new = insert_once(build_task(request, get_settings()))
    if is_new:
        ring(task, get_store(), get_queue())
    return TaskState(task_id=task.id, status=Status.PENDING)  # a repeated request gets the first one's answer
