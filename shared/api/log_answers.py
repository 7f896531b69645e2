"""A stage's log as an HTTP answer."""
from __future__ import annotations

from typing import Annotated

import flask
from pydantic import Field
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from shared.api.tasks import require_task
from shared.deps import get_files
from shared.documents import Status
from shared.errors import NotFound, OtherVersion, RangeNotSatisfiable
from shared.schema import StrictModel, TaskIdText
from shared.settings import get_settings
from shared.task_logs import MAX_LOG_BYTES, log_path
from shared.texts import Text

EMPTY = {304: Text("客户端已有此日志 (If-None-Match)", "the client has this log already (If-None-Match)")}
HEADERS = {"Range": Text("只取一段字节, 如 bytes=4096-", "a part of the bytes, as in bytes=4096-"),
           "If-Range": Text("仅当日志仍为此 ETag 时才只取一段", "the part only if the log still has this ETag"),
           "If-Match": Text("仅当日志仍为此 ETag 时才返回", "the log only if it still has this ETag"),
           "If-None-Match": Text("已有日志的 ETag", "the ETag of the log that the client has")}

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
    try:
        info, content = get_files().read_range(log_path(get_settings(), task.id, stage), 0, MAX_LOG_BYTES)
    except NotFound as error:
        raise NotFound(f"暂无日志: 阶段 {stage} 尚未运行, 或其结果来自缓存",
                       f"no log: stage {stage} has not run yet, or its result came from the cache") from error
    response = flask.Response(content, content_type="text/plain; charset=utf-8")
    response.set_etag(info.etag)
    response.headers["Cache-Control"] = "no-cache"
    return _answer_in_part(response, request, len(content))


def _answer_in_part(response: flask.Response, request: flask.Request, size_bytes: int) -> flask.Response:
    """206 for one range of bytes, 304 for a client that has this log already.

    Werkzeug makes the part. Before, four cases are put right that it answers otherwise than RFC 9110 allows or wants:
    no part of another version than the client's is sent, several ranges or a malformed one are ignored, a suffix longer
    than the log is all of it, and no range of an empty log can be satisfied.
    """
    environ, wanted = dict(request.environ), request.range
    if request.if_match and not request.if_match.contains(response.get_etag()[0] or ""):
        raise OtherVersion("日志已是另一版本 (If-Match)", "the log is of another version by now (If-Match)")
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        environ.pop("HTTP_RANGE", None)
    elif size_bytes == 0:
        raise RangeNotSatisfiable(0)
    elif wanted.ranges[0][0] < -size_bytes:
        environ["HTTP_RANGE"] = "bytes=0-"
    try:
        response.make_conditional(environ, accept_ranges=True, complete_length=size_bytes)
    except RequestedRangeNotSatisfiable as error:
        raise RangeNotSatisfiable(size_bytes) from error
    return response


def _never_begun(status: Status) -> NotFound:
    return NotFound(f"暂无日志: 任务尚未开始任何阶段, 当前状态: {status.value}",
                    f"no log yet: the task has begun no stage, it is {status.value}")
