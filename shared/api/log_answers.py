"""A stage's log as an HTTP answer."""
from __future__ import annotations

from typing import Annotated

import flask
from pydantic import Field

from shared.api.ranges import object_response
from shared.api.tasks import require_task
from shared.deps import get_files
from shared.documents import Status
from shared.errors import NotFound
from shared.schema import StrictModel, TaskIdText
from shared.settings import get_settings
from shared.task_logs import MAX_LOG_BYTES, log_path

StageName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class LogQuery(StrictModel):
    task_id: TaskIdText
    stage: StageName | None = Field(None, description="by default the running stage, or the last that ran")


def log_response(query: LogQuery, request: flask.Request) -> flask.Response:
    """The stage's log, or the part of it that was asked for.

    Raises:
        NotFound: there is no such task, or no such log.
        RangeNotSatisfiable: the log is not that long.
    """
    task = require_task(query.task_id)
    stage = query.stage or task.stage
    if stage is None:
        raise _never_begun(task.status)
    response = object_response(request, get_files(), log_path(get_settings(), task.id, stage),
                               "text/plain; charset=utf-8", MAX_LOG_BYTES)
    if response is None:
        raise NotFound(f"暂无日志: 阶段 {stage} 尚未运行, 或其结果来自缓存",
                       f"no log: stage {stage} has not run yet, or its result came from the cache")
    return response


def _never_begun(status: Status) -> NotFound:
    return NotFound(f"暂无日志: 任务尚未开始任何阶段, 当前状态: {status.value}",
                    f"no log yet: the task has begun no stage, it is {status.value}")
