"""The list of a task's files, and all of them as one zip."""
from __future__ import annotations

import time
from typing import Literal
from urllib.parse import quote

import flask
from pydantic import Field

from shared.api.archives import Entry, zip_pieces
from shared.api.content import send_content
from shared.api.downloads import disposition
from shared.api.task_files import Kind, TaskFile, log_files, look_at_all, why_no_result
from shared.api.tasks import require_task
from shared.deps import get_files
from shared.documents import TERMINAL, Status, Task
from shared.errors import Conflict, NotFound
from shared.files import FileInfo
from shared.schema import Model, QueryNumber, StrictModel, TaskIdText
from shared.settings import get_settings
from shared.texts import Text

ZIP_TYPE = "application/zip"

State = Literal["ready", "replaced", "removed"]


class FilesQuery(StrictModel):
    task_id: TaskIdText
    zip: QueryNumber = Field(0, ge=0, le=1, description="1: all files as one zip. Of a failed task these are the logs")


class FileView(Model):
    name: str
    kind: Kind = Field(description="artefact; companion, another file of the artefact; manifest; report; page, the "
                                   "report for people; log, of a stage")
    size_bytes: int | None = Field(description="null where the file is not as the task wrote it, and the document does "
                                               "not know")
    sha256: str | None = Field(description="null for logs, and where an older version has published the file")
    media_type: str
    state: State = Field(description="replaced, removed: by others, after the task had completed; then it cannot be "
                                     "downloaded")
    download_path: str = Field(description="of GET /tasks/{task_id}/files/{name}")


class TaskFiles(Model):
    task_id: str
    status: Status
    reason: Text | None = Field(description="why there are no files of a result; null where there are")
    files: list[FileView]


def list_files(query: FilesQuery) -> TaskFiles:
    """Raises NotFound, Unavailable."""
    task = require_task(query.task_id)
    views = [_view(task, file, found) for file, found in look_at_all(get_files(), task)]
    views += [_view(task, file, info) for file, info in log_files(get_files(), get_settings(), task)]
    return TaskFiles(task_id=task.id, status=task.status, reason=why_no_result(task), files=views)


def zip_response(query: FilesQuery, request: flask.Request) -> flask.Response:
    """A zip of an ended task's files.

    Raises:
        NotFound: there is no such task, or it has not ended, or it has no files; or one was removed.
        Conflict: another object is in a file's place.
        Unavailable.
    """
    task = require_task(query.task_id)
    why = why_no_result(task)
    if why is not None and task.status not in TERMINAL:
        raise NotFound(why.zh, why.en)
    entries = []
    for file, found in look_at_all(get_files(), task):
        if not isinstance(found, FileInfo):
            raise found
        entries.append(Entry(file, found))
    names = {entry.file.name for entry in entries}
    entries += [Entry(file, info) for file, info in log_files(get_files(), get_settings(), task)
                if file.name not in names]
    if not entries:
        raise NotFound(*((why.zh, why.en) if why else ("任务没有文件", "the task has no files")))
    response = flask.Response(iter(()), content_type=ZIP_TYPE)
    response.headers["Content-Disposition"] = disposition(f"{task.id}.zip")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Accept-Ranges"] = "none"
    return send_content(response, request, zip_pieces(get_files(), entries, task.finished_at or time.time()))


def _view(task: Task, file: TaskFile, found: FileInfo | NotFound | Conflict) -> FileView:
    state: State = "removed" if isinstance(found, NotFound) else "replaced" if isinstance(found, Conflict) else "ready"
    known = file.published.size_bytes if file.published else None
    return FileView(
        name=file.name, kind=file.kind, size_bytes=found.size_bytes if isinstance(found, FileInfo) else known,
        sha256=file.sha256, media_type=file.media_type, state=state,
        download_path=f"/tasks/{quote(task.id, safe='')}/files/{quote(file.name, safe='')}")
