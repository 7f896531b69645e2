"""Tasks that have ended long ago. They are deleted as a client would: with their logs, and with what is their own in
their own folders. A task stays as long as another one names its folder, and as long as it owes an announcement.
"""
from __future__ import annotations

import re
from collections.abc import Callable

from shared.announcements import changes
from shared.announcements.schedule import PAUSES_S
from shared.cached.deletions import write_note
from shared.documents import TASK_ID, TERMINAL, Task
from shared.files import Files
from shared.own_objects import delete_objects, folder_of
from shared.settings import Settings
from shared.store import Store, TaskFilter
from shared.triggers.tombstones import bury

MAX_TASKS = 1000  # of one pass
PAGE = 100

_FOLDER = re.compile(f"/({TASK_ID.pattern})(?=[/\"])")


def find_old(store: Store, now: float, life_s: float, pause: Callable[[], None]) -> list[Task]:
    """Tasks that had ended `life_s` before `now` (seconds since the epoch), and that no other task names. What cannot
    be read stays.

    Raises:
        Unavailable.
    """
    old: list[Task] = []
    before = now - life_s
    for status in TERMINAL:
        narrow, page, seen = TaskFilter(status=status, created_before=before), 1, PAGE
        while seen == PAGE and len(old) < MAX_TASKS:
            pause()
            tasks, _ = store.list_page(narrow, page, PAGE)
            old += [task for task in tasks if isinstance(task, Task) and (task.finished_at or before) < before
                    and not _owes(task, now)]
            page, seen = page + 1, len(tasks)
    named = store.named("/task_", _FOLDER) if old else set()
    return [task for task in old[:MAX_TASKS] if task.id not in named]


def _owes(task: Task, now: float) -> bool:
    """Whether somebody may still announce how the task has ended. Where nobody sends any more, it waits no longer than
    the whole schedule takes."""
    if task.callback_url is None or task.call_at == changes.NEVER:
        return False
    return now - (task.finished_at or 0.0) < 2 * sum(PAUSES_S)


def remove_old(files: Files, store: Store, settings: Settings, task: Task) -> bool:
    """Delete the task as it was read, then its objects; what is left to do is written down before (see
    `shared.cached.deletions`), and so is that no upload makes it again. False where a client has retried it since, or
    deleted it, or where the latter cannot be written down.

    Raises:
        Unavailable: where the task is gone, the note does the rest.
    """
    if bury(files, settings, [task]):
        return False
    note = write_note(files, settings, [task]) if task.epoch else None  # without a claim it has no objects
    seen = {"status": task.status, "epoch": task.epoch, "finished_at": task.finished_at}
    deleted = store.delete(task.id, where=seen)
    if note is not None:
        if deleted is not None:
            delete_objects(files, settings, task.id, folder_of(task, settings), task)
        files.delete(note)
    return deleted is not None
