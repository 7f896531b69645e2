"""The published objects that are a task's own still, and their removal."""
from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from shared.documents import Task
from shared.errors import UnreadableDocument
from shared.files import Files
from shared.marks import may_delete, read_mark
from shared.outputs import has_older_names

_AT_ONCE = 8


def delete_own(files: Files, task: Task | UnreadableDocument, paths: Iterable[str]) -> None:
    """Delete those of the objects that the task has written, and that nobody has replaced since.

    Raises:
        Unavailable.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(lambda path: _delete(files, task, path), paths))


def _delete(files: Files, task: Task | UnreadableDocument, path: str) -> None:
    there = files.stat(path)
    if there is None:
        return
    # What older versions have published has no mark. It is known by the result that names it.
    unmarked = (isinstance(task, Task) and there.mark is None and task.result is not None
                and path in task.result.objects() and has_older_names(task.result, task))
    if unmarked or may_delete(read_mark(there), task.id):
        files.delete(path, seen=there)
