"""POST /tasks/resume: a paused task goes on, with its owner if that has not parked it yet, else with any worker."""
from __future__ import annotations

import flask

from shared.api.actions import RESUME, TaskChoice, TasksChanged, take_action
from shared.api.http import Text, endpoint
from shared.api.http_errors import language_of
from shared.api.tasks import TaskState
from shared.errors import NotFound


@endpoint("POST", "/tasks/resume",
          title=Text("恢复任务: 只能恢复状态为 paused 的任务", "Resume a paused task, or several"),
          message=(Text("任务恢复成功", "task resumed"),
                   Text("批量恢复完成: 成功恢复 {success_count}/{total_count} 个任务",
                           "batch resume done: {success_count} of {total_count} tasks resumed")),
          errors=(NotFound,))
def resume_task(choice: TaskChoice, request: flask.Request) -> TaskState | TasksChanged:
    return take_action(RESUME, choice, language_of(request))
