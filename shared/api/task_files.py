"""The files that a task has: its result's objects, each as the task wrote it or not at all, and its stages' logs."""
from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from shared.documents import Published, Status, Task
from shared.errors import Conflict, NotFound
from shared.files import FileInfo, Files
from shared.marks import mark_of, read_mark
from shared.outputs import has_older_names
from shared.settings import Settings
from shared.task_logs import find_logs
from shared.texts import Text
from shared.validation_messages import printable

PIECE_BYTES = 128 << 10  # of a download: a slow reader holds no more
COMPARED_BYTES = 16 << 20  # of an object with another ETag: it may be the same, as when a folder was moved
_AT_ONCE = 8
_TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8", ".xml": "application/xml",
          ".log": "text/plain; charset=utf-8"}

Kind = Literal["artefact", "companion", "manifest", "report", "page", "log"]


@dataclass(frozen=True)
class TaskFile:
    """One of a task's files. `published` is what the task's document says of it, where it does."""

    name: str
    kind: Kind
    path: str
    published: Published | None = None
    sha256: str | None = None

    @property
    def media_type(self) -> str:
        return _TYPES.get(PurePosixPath(self.name).suffix, "application/octet-stream")


def result_files(task: Task) -> list[TaskFile]:
    """Of a completed task: the artefact first. They lie in one folder, so that their names differ."""
    result = task.result
    if result is None:
        return []
    kinds: dict[str, Kind] = dict.fromkeys(result.files, "companion")
    kinds |= {result.path: "artefact", result.manifest_path: "manifest"}
    if result.report_path:
        kinds[result.report_path] = "report"
    if result.report_page_path:
        kinds[result.report_page_path] = "page"
    told = {one.path: one for one in result.published or ()}
    # What older versions have published without a mark cannot be told from what others put in its place.
    known = {} if has_older_names(result, task) else {result.path: result.sha256}
    digests = known | {path: one.sha256 for path, one in told.items()}
    return [TaskFile(PurePosixPath(path).name, kind, path, told.get(path), digests.get(path))
            for path, kind in kinds.items()]


def log_files(files: Files, settings: Settings, task: Task) -> list[tuple[TaskFile, FileInfo]]:
    """The logs of its stages that are there. Raises Unavailable."""
    return [(TaskFile(PurePosixPath(info.path).name, "log", info.path), info)
            for info in find_logs(files, settings, task.id)]


def look_at(files: Files, task: Task, file: TaskFile) -> FileInfo:
    """The result's object, which is the one that the task has written.

    Raises:
        NotFound: it was removed.
        Conflict: there is another one in its place.
        Unavailable: the object store does not answer.
    """
    there, path = files.stat(file.path), printable(file.path, 300)
    if there is None:
        raise NotFound(f"结果文件在任务完成后已被删除: {path}",
                       f"the file was removed after the task had completed: {path}")
    if not _is_own(files, task, file, there):
        raise Conflict(f"结果文件在任务完成后已被替换, 不再是该任务的结果: {path}",
                       f"the file was replaced after the task had completed, and is its result no more: {path}")
    return there


def look_at_all(files: Files, task: Task) -> list[tuple[TaskFile, FileInfo | NotFound | Conflict]]:
    """Each of the result's objects, or why it cannot be had. Raises Unavailable."""
    def look(file: TaskFile) -> FileInfo | NotFound | Conflict:
        try:
            return look_at(files, task, file)
        except (NotFound, Conflict) as error:
            return error

    found = result_files(task)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(zip(found, pool.map(look, found), strict=True))


def why_no_result(task: Task) -> Text | None:
    """None where there is one."""
    if task.status == Status.COMPLETED:
        return None
    if task.status == Status.FAILED:
        code = task.error.code if task.error else "failed"
        return Text(f"任务失败 ({code}), 没有结果文件", f"the task failed ({code}) and has no result")
    return Text(f"任务尚未完成, 当前状态: {task.status.value}; 完成后才有结果文件",
                f"the task is {task.status.value}; its result is there when it has completed")


def read_pieces(files: Files, file: TaskFile, seen: FileInfo, start: int, stop: int) -> Iterator[bytes]:
    """The object's bytes from `start` to `stop`, each piece by a request of its own: a reader may take its time.

    Raises:
        Conflict: the object is not the seen one any more.
        NotFound, Unavailable.
    """
    while start < stop:
        info, piece = files.read_range(file.path, start, min(PIECE_BYTES, stop - start))
        if info.etag != seen.etag or not piece:
            path = printable(file.path, 300)
            raise Conflict(f"结果文件在读取时被替换: {path}", f"the file was replaced while it was read: {path}")
        yield piece
        start += len(piece)


def _is_own(files: Files, task: Task, file: TaskFile, there: FileInfo) -> bool:
    """Whether the object has the content that the task has published: by its ETag, or if it is small by its digest.
    Where the document knows neither, by the object's mark; older versions set none."""
    if file.published is None:
        mark = read_mark(there)
        return mark == mark_of(task) or (mark is None and task.result is not None and has_older_names(
            task.result, task))
    if there.etag == file.published.etag:
        return True
    return there.size_bytes == file.published.size_bytes <= COMPARED_BYTES and (
        _digest(files, file, there) == file.published.sha256)


def _digest(files: Files, file: TaskFile, there: FileInfo) -> str:
    digest = hashlib.sha256()
    for piece in read_pieces(files, file, there, 0, there.size_bytes):
        digest.update(piece)
    return digest.hexdigest()
