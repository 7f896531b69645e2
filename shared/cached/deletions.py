"""Notes of deletions in the cache bucket, so that a deleted task's objects go even if the one who deletes it dies.

A task's document goes first, and its objects afterwards: a task that is there always has its objects. The note is
written before both. It stays where objects could not be deleted, and where a worker held the task, which may have
published more meanwhile. The workers' housekeeping does what a note says, and removes it.
"""
from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable

from shared.cached.notices import put_json
from shared.documents import Task
from shared.errors import NotFound, UnreadableDocument
from shared.files import FileInfo, Files
from shared.own_objects import delete_objects, folder_of
from shared.settings import Settings
from shared.store import Store

logger = logging.getLogger(__name__)

LIMIT_BYTES = 4 << 20
KEEP_S = 60.0  # at least: longer than any request may delete


def write_note(files: Files, settings: Settings, tasks: Iterable[Task | UnreadableDocument]) -> str:
    """The note's path. Raises Unavailable."""
    path = f"{_folder(settings)}{uuid.uuid4().hex}.json"
    put_json(files, path, {"folders": {task.id: folder_of(task, settings) for task in tasks}})
    return path


class Deletions:
    """Finishes what notes say. Each is looked at when it is a lease old, on this process's own clock, and once more
    before it goes: a worker that was slow may have written in between."""

    def __init__(self, files: Files, store: Store, settings: Settings,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._files, self._store, self._settings, self._clock = files, store, settings, clock
        self._first_seen: dict[str, float] = {}
        self._done: set[str] = set()  # looked at once

    def look(self) -> None:
        """Raises Unavailable."""
        now, seen = self._clock(), {}
        for info in list(self._files.find(_folder(self._settings))):
            since = seen[info.path] = self._first_seen.get(info.path, now)
            if now - since >= max(KEEP_S, 2 * self._settings.lease_s):
                self._finish(info)
                self._files.delete(info.path)
            elif now - since >= self._settings.lease_s and info.path not in self._done:
                self._done.add(info.path)
                self._finish(info)
        self._first_seen = seen
        self._done &= seen.keys()

    def _finish(self, note: FileInfo) -> None:
        folders = self._read(note)
        there = self._store.get_many(list(folders))  # not deleted, or not yet
        for task_id, folder in folders.items():
            if task_id not in there:
                delete_objects(self._files, self._settings, task_id, folder)

    def _read(self, note: FileInfo) -> dict[str, str | None]:
        try:
            _, data = self._files.read_range(note.path, 0, LIMIT_BYTES)
            folders = json.loads(data)["folders"]
            return {str(task_id): folder if isinstance(folder, str) and f"/{task_id}/" in folder else None
                    for task_id, folder in folders.items()}
        except NotFound:
            return {}  # another worker was first
        except (ValueError, TypeError, KeyError, AttributeError):
            logger.warning("a note of a deletion cannot be read: %s", note.path)
            return {}


def _folder(settings: Settings) -> str:
    return f"{settings.cache_bucket}/housekeeping/deletions/"
