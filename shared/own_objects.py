"""The published objects that are a task's own still, its logs, and their removal."""
from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from shared.access import own_tenant
from shared.documents import TASK_ID, Task
from shared.errors import UnreadableDocument
from shared.files import Files
from shared.marks import may_delete, read_mark
from shared.outputs import default_folder, has_older_names, own_folder
from shared.settings import Settings
from shared.task_logs import delete_logs

_AT_ONCE = 8


def folder_of(task: Task | UnreadableDocument, settings: Settings) -> str | None:
    """The folder that is named after the task, if its results lie in one; of an unreadable document the default one of
    the tenant that this thread works for."""
    return own_folder(task) if isinstance(task, Task) else default_folder(task.id, settings, own_tenant())


def delete_objects(files: Files, settings: Settings, task_id: str, folder: str | None,
                   task: Task | UnreadableDocument | None = None) -> None:
    """Delete the task's logs, and those objects in its own `folder` that it has written and nobody has replaced since.
    `task` is its document, where it is known still.

    Raises:
        Unavailable.
    """
    if not TASK_ID.fullmatch(task_id) and not isinstance(task, Task):
        return  # no id of ours: nothing was made under it, and as a path it may lead anywhere
    delete_logs(files, settings, task_id)
    if folder:
        unmarked = _known_without_marks(task)
        _delete_all(files, task_id, [info.path for info in files.find(folder)], unmarked)


def _known_without_marks(task: Task | UnreadableDocument | None) -> frozenset[str]:
    """What older versions have published has no mark. It is known by the result that names it."""
    if isinstance(task, Task) and task.result is not None and has_older_names(task.result, task):
        return frozenset(task.result.objects())
    return frozenset()


def _delete_all(files: Files, task_id: str, paths: Iterable[str], unmarked: frozenset[str]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda path: _delete(files, task_id, path, path in unmarked), paths))


def _delete(files: Files, task_id: str, path: str, known: bool) -> None:
    there = files.stat(path)
    if there is not None and ((known and there.mark is None) or may_delete(read_mark(there), task_id)):
        files.delete(path, seen=there)
