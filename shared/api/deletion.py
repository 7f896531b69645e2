"""Deleting tasks, and with them their logs and the artefacts in their own folders."""
from __future__ import annotations

import logging
from collections.abc import Iterable

from pydantic import ConfigDict, Field, model_validator

from shared.access import seen_tenant
from shared.deps import get_files, get_queue, get_store
from shared.documents import Task, stored_tenant
from shared.doorbells import nudge
from shared.errors import Unavailable, UnreadableDocument
from shared.own_objects import delete_objects, folder_of
from shared.schema import GroupIdText, Model, StrictModel, TaskIds, exactly_one, wrong
from shared.settings import get_settings

logger = logging.getLogger(__name__)


class TasksToDelete(StrictModel):
    """Tasks by `task_ids`, or all of a group by `group_id`."""

    task_ids: TaskIds | None = None
    group_id: GroupIdText | None = None
    purge: bool = Field(False, description="also remove the cached results of the tasks' stages, within seconds, but "
                                           "for those that another task has used; else they go when nobody has used "
                                           "them for long")

    model_config = ConfigDict(json_schema_extra=exactly_one(task_ids="array", group_id="string"))

    @model_validator(mode="after")
    def _check_one_of_both(self) -> TasksToDelete:
        if (self.task_ids is None) == (self.group_id is None):
            raise wrong("的 task_ids 为必填字段 (或 group_id, 二者仅其一)",
                        "needs task_ids (or group_id, but not both)")
        return self


class TasksDeleted(Model):
    total_count: int = Field(description="different ids in the request")
    success_count: int
    failed_count: int
    results: dict[str, bool]


def delete_tasks(task_ids: list[str], *, purge: bool = False) -> dict[str, bool]:
    """Delete each task. The answer is `{task id: True if the task is gone}`; an id that occurs twice counts once.

    With `purge` the workers are told to remove the results of the tasks' stages. The first one that looks does so.

    A task's document goes first, and its objects afterwards, so that a task which is there has its objects. What is
    left to do is written down before both (`shared.cached.deletions`), and so is that an upload's task is not to be
    made again (`shared.triggers.tombstones`); where that fails, the task is kept. The owner is
    nudged, best effort: at its next beat it finds no task, stops, and leaves no object behind. Of a task whose document
    cannot be read, the objects go that can be known by its id.

    Raises:
        Unavailable: the store does not answer. What was deleted before stays deleted. Or the purge cannot be asked for,
            and nothing is deleted.
    """
    from shared.cached.deletions import write_note
    from shared.triggers.tombstones import bury

    tenant = seen_tenant()
    found = get_store().get_many(list(dict.fromkeys(task_ids)), tenant=tenant)
    if purge:  # first of all: what is not asked for would never go
        _ask_for_purge(found.values())
    results = dict.fromkeys(task_ids, False)
    with_objects = [task for task in found.values() if has_objects(task)]
    note = None
    try:
        note = write_note(get_files(), get_settings(), with_objects) if with_objects else None
    except Unavailable as error:
        logger.warning("tasks are kept, since their objects cannot be deleted: %s", error)
        found = {task_id: task for task_id, task in found.items() if not has_objects(task)}
    kept = bury(get_files(), get_settings(), (task for task in found.values() if isinstance(task, Task)))
    found = {task_id: task for task_id, task in found.items() if task_id not in kept}
    gone: list[Task | UnreadableDocument] = []
    left: list[Task | UnreadableDocument] = []  # those of which housekeeping has to look for objects again
    files_answer = queue_answers = True
    for task_id in found:
        deleted = get_store().delete(task_id, where=None if tenant is None else {"tenant": stored_tenant(tenant)})
        results[task_id] = deleted is not None
        if deleted is None:
            continue
        gone.append(deleted)
        if has_objects(deleted):
            files_answer = files_answer and _delete_objects(deleted)
            if not files_answer or isinstance(deleted, UnreadableDocument) or deleted.owner:
                left.append(deleted)
        if queue_answers and (isinstance(deleted, UnreadableDocument) or deleted.owner):
            queue_answers = nudge(deleted, get_queue())
    _settle(note, {task.id for task in with_objects}, left)
    if purge:  # again: until now the tasks themselves needed their results, and some have finished a stage meanwhile
        try:
            _ask_for_purge(gone)
        except Unavailable as error:
            logger.warning("the results of deleted tasks go a little later: %s", error)
    return results


def _settle(note: str | None, noted: set[str], left: list[Task | UnreadableDocument]) -> None:
    """The note goes if nothing is left to do. Tasks that had no objects when it was written get one of their own."""
    from shared.cached.deletions import write_note

    try:
        if late := [task for task in left if task.id not in noted]:
            write_note(get_files(), get_settings(), late)
        if note and len(late) == len(left):
            get_files().delete(note)
    except Unavailable as error:
        logger.warning("housekeeping looks for objects of deleted tasks: %s", error)


def _ask_for_purge(tasks: Iterable[Task | UnreadableDocument]) -> None:
    """What an unreadable document names is not known. Raises Unavailable."""
    from shared.cached.notices import write_notice

    began = [task for task in tasks if isinstance(task, Task) and has_objects(task)]
    if began:
        write_notice(get_files(), get_settings().cache_bucket, "purge",
                     {record.key for task in began for record in task.stages}, [task.id for task in began])


def has_objects(task: Task | UnreadableDocument) -> bool:
    """Whether the task may have objects. Before its first claim it has none."""
    return isinstance(task, UnreadableDocument) or task.epoch > 0 or task.result is not None


def _delete_objects(task: Task | UnreadableDocument) -> bool:
    """Delete the task's logs and what is its own in its folder; True if the object store answered."""
    try:
        delete_objects(get_files(), get_settings(), task.id, folder_of(task, get_settings()), task)
    except Unavailable as error:
        logger.warning("the objects of task %s are not deleted: %s", task.id, error)
        return False
    return True
