"""POST /tasks/cancel: end a task as failed, with `error.code` cancelled. Its owner stops."""
from __future__ import annotations

from shared.api.actions import CANCEL, TaskChoice, TasksChanged, take_action
from shared.api.http import endpoint
from shared.api.tasks import TaskState
from shared.errors import NotFound
from shared.texts import Text


@endpoint("POST", "/tasks/cancel", scope="write",
          title=Text("取消任务: 只能取消尚未结束的任务", "Cancel a task that has not ended, or several"),
          message={TaskState: Text("任务取消成功", "task cancelled"),
                   TasksChanged: Text("批量取消完成: 成功取消 {success_count}/{total_count} 个任务",
                                      "batch cancel done: {success_count} of {total_count} tasks cancelled")},
          errors=(NotFound,))
def cancel_task(choice: TaskChoice) -> TaskState | TasksChanged:
    return take_action(CANCEL, choice)
