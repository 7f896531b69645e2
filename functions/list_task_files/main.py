"""GET /tasks/{task_id}/files: a task's files, or all of them as one zip (`?zip=1`)."""
from __future__ import annotations

import flask

from shared.api.file_list import ZIP_TYPE, FilesQuery, TaskFiles, list_files, zip_response
from shared.api.http import endpoint
from shared.errors import Conflict, NotFound
from shared.texts import Text


@endpoint("GET", "/tasks/{task_id}/files", scope="read",
          title=Text("获取任务文件列表: 结果文件与各阶段日志; zip=1 时为包含全部文件的压缩包",
                     "A task's files: its result and its stages' logs; with zip=1 all of them as one zip"),
          message=Text("获取任务文件列表成功", "files found"), media_type=ZIP_TYPE, errors=(NotFound, Conflict))
def list_task_files(query: FilesQuery, request: flask.Request) -> TaskFiles | flask.Response:
    return zip_response(query, request) if query.zip else list_files(query)
