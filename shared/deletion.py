"""Deleting tasks, and with them the artefacts in their own folders."""
from __future__ import annotations

import logging
from pathlib import PurePosixPath

from pydantic import Field

from shared.deps import get_files, get_queue, get_store
from shared.doorbells import nudge
from shared.errors import Unavailable
from shared.models import Model, StrictModel, Task, TaskIdText

logger = logging.getLogger(__name__)


class TaskRefs(StrictModel):
    task_ids: list[TaskIdText] = Field(min_length=1, max_length=1000,
                                       examples=[["task_1234567890_1234", "task_1234567890_5678"]])


class TasksDeleted(Model):
    total_count: int = Field(description="different ids in the request")
    success_count: int
    failed_count: int
    results: dict[str, bool]


def delete_tasks(task_ids: list[str]) -> dict[str, bool]:
    """Delete each task; whether each is gone now, an id that occurs twice counted once.

    A task whose artefacts cannot be deleted is kept, so that nothing is left behind that no task speaks of. An owner is
    told best effort: at its next beat it finds nothing, stops and leaves no object behind.

    Raises:
        Unavailable: the store does not answer. What was deleted before stays deleted.
    """
    found = get_store().get_many(list(dict.fromkeys(task_ids)))
    results = dict.fromkeys(task_ids, False)
    files_answer = queue_answers = True
    for task_id, task in found.items():
        if has_own_folder(task):
            files_answer = files_answer and _empty_folder(task)
            if not files_answer:
                continue
        deleted = get_store().delete(task_id)
        results[task_id] = deleted is not None
        if deleted is None:
            continue
        if has_own_folder(deleted) and not has_own_folder(task):  # it was completed between the two looks at it
            _empty_folder(deleted)
        if deleted.owner and queue_answers:
            queue_answers = nudge(deleted, get_queue())
    return results


def has_own_folder(task: Task) -> bool:
    """Whether artefacts lie in a folder that the service named after the task; a client's own output stays."""
    return task.result is not None and PurePosixPath(task.output_path).parent.name == task.id


def _empty_folder(task: Task) -> bool:
    """Delete all that lies in the task's folder; whether the object store answered."""
    files = get_files()
    try:
        for info in list(files.list(task.output_path.rpartition("/")[0] + "/")):
            files.delete(info.path)
    except Unavailable as error:
        logger.warning("the artefacts of task %s are not deleted: %s", task.id, error)
        return False
    return True
