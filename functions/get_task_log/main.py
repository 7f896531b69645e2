"""GET /tasks/{task_id}/log: a stage's log as text, whole or in parts (`Range`), while the stage runs too."""
from __future__ import annotations

import flask

from shared.api.http import endpoint
from shared.api.log_answers import LogQuery, log_response
from shared.api.parts import EMPTY, HEADERS
from shared.errors import NotFound, OtherVersion, RangeNotSatisfiable
from shared.texts import Text


@endpoint("GET", "/tasks/{task_id}/log", scope="read",
          title=Text("获取任务日志: 某一阶段的日志, 支持 Range 请求",
                     "A stage's log, also while it runs, whole or in ranges"),
          media_type="text/plain", empty=EMPTY, headers=HEADERS, errors=(NotFound, OtherVersion, RangeNotSatisfiable))
def get_task_log(query: LogQuery, request: flask.Request) -> flask.Response:
    return log_response(query, request)
