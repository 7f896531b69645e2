"""Which uploads' tasks were deleted: neither a late event nor the sweep makes such a task again.

A tombstone is an object in the cache bucket, named after the task's key and written before the task goes. It is as new
as the deletion. An object that was uploaded again since is a new wish. Both times are the object store's own.
"""
from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from typing import Any

from shared.cached.notices import put_json
from shared.documents import Task
from shared.errors import NotFound, Unavailable
from shared.files import FileInfo, Files
from shared.settings import Settings

MAX_RECORD_BYTES = 16 << 10
AT_ONCE = 8
LISTING_PAYS = 8  # looks at single tombstones cost more than a page of their listing
LISTED = 1000  # a page. Where there are more, each is looked for by itself

logger = logging.getLogger(__name__)


def bury(files: Files, settings: Settings, tasks: Iterable[Task]) -> set[str]:
    """Before tasks are deleted: write the tombstones of those that uploads have started. The ids of those for which it
    failed; they are to be kept."""
    def write(task: Task) -> str | None:
        assert task.source is not None
        try:
            put_json(files, _path(settings, task.source.request_key),
                     {"path": f"{task.source.bucket}/{task.source.key}", "etag": task.source.etag})
        except Unavailable as error:
            logger.warning("the deletion of task %s cannot be noted: %s", task.id, error)
            return task.id
        return None

    started = [task for task in tasks if task.source is not None]
    if not started:
        return set()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {task_id for task_id in pool.map(write, started) if task_id}


def find_deleted(files: Files, settings: Settings, models: Mapping[str, FileInfo], pool: Executor) -> set[str]:
    """Of these keys of tasks, each with its model: those for which `is_deleted`. To be called after the tasks were
    looked for in the store: a tombstone is there before its task goes.

    Raises:
        Unavailable.
    """
    asked = list(models)
    if len(asked) >= LISTING_PAYS:
        stones = {stone.path for stone in islice(files.find(folder(settings)), LISTED)}
        if len(stones) < LISTED:  # these are all that there are
            asked = [key for key in asked if _path(settings, key) in stones]
    looks = pool.map(lambda key: is_deleted(files, settings, key, models[key]), asked)
    return {key for key, gone in zip(asked, looks, strict=True) if gone}


def is_deleted(files: Files, settings: Settings, key: str, model: FileInfo) -> bool:
    """Whether the task with this key was deleted after the object was uploaded.

    Raises:
        Unavailable.
    """
    stone = files.stat(_path(settings, key))
    if stone is None:
        return False
    # A new upload to a folder has a new etag, and so another key. Its times also change with its permissions.
    if settings.files_url.get_secret_value().startswith("file:"):
        return True
    return int(model.modified_at or 0.0) <= int(stone.modified_at or 0.0)  # a HEAD tells whole seconds


def read_tombstone(files: Files, info: FileInfo) -> dict[str, Any] | None:
    """Raises Unavailable."""
    try:
        found = json.loads(files.read_range(info.path, 0, MAX_RECORD_BYTES)[1])
    except (NotFound, ValueError):
        return None
    named = isinstance(found, dict) and all(isinstance(found.get(name), str) for name in ("path", "etag"))
    return found if named else None


def folder(settings: Settings) -> str:
    return f"{settings.cache_bucket}/triggers/deleted/"


def _path(settings: Settings, key: str) -> str:
    return f"{folder(settings)}{hashlib.sha256(key.encode()).hexdigest()}.json"
