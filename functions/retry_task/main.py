"""POST /tasks/retry: queue a failed task again. It starts after its last finished stage."""
from __future__ import annotations

from shared.api.actions import RETRY, TaskChoice, TasksChanged, take_action
from shared.api.http import endpoint
from shared.api.tasks import TaskState
from shared.errors import NotFound
from shared.texts import Text


@endpoint("POST", "/tasks/retry", scope="write",
          title=Text("重试任务: 只能重试状态为 failed 的任务, 从最后完成的阶段之后继续",
                     "Retry a failed task, or several, after the last finished stage"),
          message={TaskState: Text("任务重试成功", "task retried"),
                   TasksChanged: Text("批量重试完成: 成功重试 {success_count}/{total_count} 个任务",
                                      "batch retry done: {success_count} of {total_count} tasks retried")},
          errors=(NotFound,))
def retry_task(choice: TaskChoice) -> TaskState | TasksChanged:
    return take_action(RETRY, choice)
