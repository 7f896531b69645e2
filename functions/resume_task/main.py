"""POST /tasks/resume: a paused task goes on. If its owner has parked it already, any worker takes it."""
from __future__ import annotations

from shared.api.actions import RESUME, TaskChoice, TasksChanged, take_action
from shared.api.http import endpoint
from shared.api.tasks import TaskState
from shared.errors import NotFound
from shared.texts import Text


@endpoint("POST", "/tasks/resume", scope="write",
          title=Text("恢复任务: 只能恢复状态为 paused 的任务", "Resume a paused task, or several"),
          message={TaskState: Text("任务恢复成功", "task resumed"),
                   TasksChanged: Text("批量恢复完成: 成功恢复 {success_count}/{total_count} 个任务",
                                      "batch resume done: {success_count} of {total_count} tasks resumed")},
          errors=(NotFound,))
def resume_task(choice: TaskChoice) -> TaskState | TasksChanged:
    return take_action(RESUME, choice)
