"""POST /tasks/resume: a paused task goes on, with its owner if that has not parked it yet, else with any worker."""
from __future__ import annotations

import flask

from shared.actions import RESUME, TaskChoice, TasksChanged, take_action
from shared.errors import NotFound
from shared.http import Message, endpoint
from shared.http_errors import language_of
from shared.tasks import TaskState


@endpoint("POST", "/tasks/resume",
          title=Message("恢复任务: 只能恢复状态为 paused 的任务", "Resume a paused task, or several"),
          message=(Message("任务恢复成功", "task resumed"),
                   Message("批量恢复完成: 成功恢复 {success_count}/{total_count} 个任务",
                           "batch resume done: {success_count} of {total_count} tasks resumed")),
          errors=(NotFound,))
def resume_task(choice: TaskChoice, request: flask.Request) -> TaskState | TasksChanged:
    return take_action(RESUME, choice, language_of(request))
