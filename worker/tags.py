"""Tags where the object store has them: results say what made them, an uploaded model what became of it.

They are for people and for rules of the store's own. Nothing here reads them, and a refused one fails nothing.
"""
from __future__ import annotations

import logging

from shared.documents import Source, Task
from shared.errors import AppError
from shared.files import Files

logger = logging.getLogger(__name__)

PREFIX = "model-convert-"


def tag_ended(task: Task, source: Source, files: Files) -> None:
    """Of a task that has ended, and that an upload has started. A source that was replaced meanwhile is left alone. A
    source with several targets has a tag for each."""
    path = f"{source.bucket}/{source.key}"
    try:
        _tag_results(task, path, files)
        there = files.stat(path)
        if there is not None and there.etag == source.etag:
            files.tag(path, {f"{PREFIX}{task.platform}": f"{task.id} {task.status}"})
    except AppError as error:
        logger.info("tags are left out: %s", error, extra={"task_id": task.id})


def _tag_results(task: Task, source: str, files: Files) -> None:
    tags = {f"{PREFIX}task": task.id, f"{PREFIX}target": task.platform, f"{PREFIX}source": source}
    for path in task.result.objects() if task.result else ():
        files.tag(path, tags)
