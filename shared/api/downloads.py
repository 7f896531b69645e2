"""One file of a task as an HTTP answer: the way to it in the object store, or its bytes."""
from __future__ import annotations

import re
from urllib.parse import quote

import flask
from pydantic import Field

from shared.api.content import send_content
from shared.api.log_answers import log_answer
from shared.api.parts import EMPTY as NOT_MODIFIED
from shared.api.parts import answer_in_part, chosen_part
from shared.api.task_files import TaskFile, look_at, read_pieces, result_files, why_no_result
from shared.api.tasks import require_task
from shared.deps import get_files
from shared.documents import Task
from shared.errors import NotFound
from shared.schema import FileName, StrictModel, TaskIdText
from shared.settings import get_settings
from shared.texts import Text
from shared.validation_messages import printable

EMPTY = NOT_MODIFIED | {302: Text("文件在对象存储中的下载地址 (Location), 短时间内有效",
                                  "where the file is to be had from the object store (Location), for a short while")}

CACHING = "private, no-cache"  # a later task may replace the object: whoever has it asks again, with its ETag
_LOG = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63})\.log")
_UNSAFE = re.compile(r"[^A-Za-z0-9 !#$&+.^_`|~()\[\]{},=@-]")  # in a plain `filename`; browsers read `%41` as a letter


class FileQuery(StrictModel):
    task_id: TaskIdText
    name: FileName = Field(description="as GET /tasks/{task_id}/files names it", examples=["detector.xml"])


def file_response(query: FileQuery, request: flask.Request) -> flask.Response:
    """A redirection to the object store where that lets clients in; else the file's bytes, or the part that was asked
    for. HEAD is always answered here.

    Raises:
        NotFound: there is no such task, or no such file, or not yet, or it was removed.
        Conflict: another object is in its place now.
        RangeNotSatisfiable: the file is not that long.
        OtherVersion: the client's If-Match is not the file's ETag.
    """
    task = require_task(query.task_id)
    found = {file.name: file for file in result_files(task)}
    if file := found.get(query.name):
        return _result_response(task, file, request)
    if stage := _LOG.fullmatch(query.name):
        response = log_answer(task, stage[1], request)
        response.headers["Content-Disposition"] = disposition(query.name)
        return response
    why = why_no_result(task)
    if why is not None:
        raise NotFound(why.zh, why.en)
    names = printable(", ".join(found), 600)
    raise NotFound(f"任务没有这个文件; 结果文件: {names}", f"the task has no such file; its result's are: {names}")


def disposition(name: str) -> str:
    """A Content-Disposition under which every client stores the file by this name (RFC 6266). Where the name is more
    than plain ASCII, those that do not know RFC 8187 take it with `_` for each other character."""
    plain = _UNSAFE.sub("_", name)
    return f'attachment; filename="{plain}"' + ("" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}")


def _result_response(task: Task, file: TaskFile, request: flask.Request) -> flask.Response:
    there = look_at(get_files(), task, file)
    response = flask.Response(content_type=file.media_type)
    response.headers["Content-Disposition"] = disposition(file.name)
    response.headers["Cache-Control"] = CACHING
    response.headers["Content-Length"] = str(there.size_bytes)
    response.set_etag(there.etag)
    known = answer_in_part(response, request, there.size_bytes)
    if known.status_code not in (200, 206):
        return known
    if request.method == "GET" and (url := _url(file)):
        return flask.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
    start, stop = chosen_part(response, there.size_bytes)
    return send_content(response, request, read_pieces(get_files(), file, there, start, stop))


def _url(file: TaskFile) -> str | None:
    settings = get_settings()
    return get_files().read_url(file.path, settings.download_url_s, {
        "Content-Type": file.media_type, "Content-Disposition": disposition(file.name), "Cache-Control": CACHING,
    }, settings.files_public_url)
