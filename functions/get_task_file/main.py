"""GET /tasks/{task_id}/files/{name}: one of a task's files, or where the object store has it."""
from __future__ import annotations

import flask

from shared.api.downloads import EMPTY, FileQuery, file_response
from shared.api.http import endpoint
from shared.api.parts import HEADERS
from shared.errors import Conflict, NotFound, OtherVersion, RangeNotSatisfiable
from shared.texts import Text


@endpoint("GET", "/tasks/{task_id}/files/{name}", scope="read",
          title=Text("下载任务文件: 重定向到对象存储, 或直接返回内容 (支持 Range 请求)",
                     "One of a task's files: a redirection to the object store, or the bytes, whole or in ranges"),
          media_type="*/*", empty=EMPTY, headers=HEADERS,
          errors=(NotFound, Conflict, OtherVersion, RangeNotSatisfiable))
def get_task_file(query: FileQuery, request: flask.Request) -> flask.Response:
    return file_response(query, request)
