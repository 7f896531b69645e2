"""POST /tasks/pause: pause a running task at once. Its owner is nudged and freezes the stage."""
from __future__ import annotations

from shared.api.actions import PAUSE, TaskChoice, TasksChanged, take_action
from shared.api.http import endpoint
from shared.api.tasks import TaskState
from shared.errors import NotFound
from shared.texts import Text


@endpoint("POST", "/tasks/pause", scope="write",
          title=Text("暂停任务: 只能暂停状态为 running 的任务", "Pause a running task, or several"),
          message={TaskState: Text("任务暂停成功", "task paused"),
                   TasksChanged: Text("批量暂停完成: 成功暂停 {success_count}/{total_count} 个任务",
                                      "batch pause done: {success_count} of {total_count} tasks paused")},
          errors=(NotFound,))
def pause_task(choice: TaskChoice) -> TaskState | TasksChanged:
    return take_action(PAUSE, choice)
