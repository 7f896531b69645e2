"""A stage's log as an HTTP answer."""
from __future__ import annotations

from typing import Annotated

import flask
from pydantic import Field

from shared.api.parts import answer_in_part
from shared.api.tasks import require_task
from shared.deps import get_files
from shared.documents import Status, Task
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
        OtherVersion: the client's If-Match is not this log's ETag.
    """
    task = require_task(query.task_id)
    stage = query.stage or task.stage
    if stage is None:
        raise _never_begun(task.status)
    return log_answer(task, stage, request)


def log_answer(task: Task, stage: str, request: flask.Request) -> flask.Response:
    """Raises NotFound, RangeNotSatisfiable, OtherVersion."""
    try:
        info, content = get_files().read_range(log_path(get_settings(), task.id, stage), 0, MAX_LOG_BYTES)
    except NotFound as error:
        raise NotFound(f"暂无日志: 阶段 {stage} 尚未运行, 或其结果来自缓存",
                       f"no log: stage {stage} has not run yet, or its result came from the cache") from error
    response = flask.Response(content, content_type="text/plain; charset=utf-8")
    response.set_etag(info.etag)
    response.headers["Cache-Control"] = "no-cache"
    return answer_in_part(response, request, len(content))


def _never_begun(status: Status) -> NotFound:
    return NotFound(f"暂无日志: 任务尚未开始任何阶段, 当前状态: {status.value}",
                    f"no log yet: the task has begun no stage, it is {status.value}")
