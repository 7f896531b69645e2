"""POST /tasks/create: accept a conversion. The task is safe in the store before a worker is told of it."""
from __future__ import annotations

from shared.creation import TaskGroup, build_tasks, insert_once
from shared.deps import get_queue, get_store
from shared.doorbells import ring
from shared.errors import Conflict
from shared.http import Message, endpoint
from shared.models import CreateTask, Status
from shared.preflight.gate import refuse_hopeless
from shared.settings import get_settings
from shared.tasks import TaskState


@endpoint("POST", "/tasks/create",
          title=Message("创建任务: 提交模型转换", "Submit a conversion, to one target or to several at once"),
          message=(Message("任务创建成功", "task created"), Message("任务创建成功", "tasks created")),
          errors=(Conflict,))
def create_task(request: CreateTask) -> TaskState | TaskGroup:
    tasks = build_tasks(request, get_settings())
    refuse_hopeless(tasks, get_settings(), several=request.targets is not None)
    stored = [insert_once(task) for task in tasks]
    queue_answers = True  # what does not answer once is not waited for again in this request
    for task, is_new in stored:
        queue_answers = queue_answers and (not is_new or ring(task, get_store(), get_queue()))
    # a repeated request gets the first one's answer
    states = [TaskState(task_id=task.id, status=Status.PENDING) for task, _ in stored]
    if request.targets is None:
        return states[0]
    return TaskGroup(group_id=str(stored[0][0].group_id), tasks=states)
