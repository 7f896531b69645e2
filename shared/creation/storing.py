"""Stores the tasks of one request exactly once, all of them or none, however often and by however many it is sent.

The first task of a group is stored last. Where it is there, all others were there too. Where it is missing, the server
has died in the middle of the command, or somebody has deleted it: what is missing is then stored.
"""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from shared.access import by_whom
from shared.deps import get_store
from shared.documents import Task
from shared.errors import Conflict
from shared.store import DuplicateKey, TurnTaken
from shared.transitions import created


def first_answer(tasks: list[Task]) -> list[Task]:
    """The tasks that an earlier request with the same key has made, those apart that were deleted since. Empty where
    there was no such request.

    Raises:
        Conflict: the key was used for another request.
    """
    found = _stored(tasks)
    return _in_order(tasks, found) if tasks[0].idempotency_key in found else []


def store_once(tasks: list[Task]) -> tuple[list[Task], list[Task]]:
    """The stored tasks of the request, and those of them that this call has stored.

    Raises:
        Conflict: the key was used for another request.
        TurnTaken: another request has got one of the outputs.
    """
    if len(tasks) == 1:
        with suppress(DuplicateKey):  # the store itself refuses a second one
            get_store().insert(tasks[0], [created(tasks[0], by_whom())])
            return tasks, tasks
    while True:
        found = _stored(tasks)
        if tasks[0].idempotency_key in found:
            return _in_order(tasks, found), []
        missing = [task for task in tasks if task.idempotency_key not in found]
        try:
            if len(missing) == 1:
                get_store().insert(missing[0], [created(missing[0], by_whom())])
            else:
                get_store().insert_group([(task, [created(task, by_whom())]) for task in reversed(missing)])
        except DuplicateKey:
            continue  # the same request has come twice at once
        return [found.get(task.idempotency_key or "", task) for task in tasks], missing


def store_all(requests: Sequence[list[Task]]) -> list[tuple[list[Task], list[Task]] | Conflict | TurnTaken]:
    """`store_once` for each request: those of one task by one command."""
    single = [tasks[0] for tasks in requests if len(tasks) == 1]
    stored: set[str] = set()
    if len(single) > 1:
        left_out = get_store().insert_many([(task, [created(task, by_whom())]) for task in single])
        stored = {task.id for task in single} - left_out
    answers: list[tuple[list[Task], list[Task]] | Conflict | TurnTaken] = []
    for tasks in requests:
        try:
            answers.append((tasks, tasks) if tasks[0].id in stored else store_once(tasks))
        except (Conflict, TurnTaken) as error:
            answers.append(error)
    return answers


def _stored(tasks: list[Task]) -> dict[str, Task]:
    keys = [task.idempotency_key for task in tasks if task.idempotency_key is not None]
    found = get_store().find_by_keys(keys) if keys else {}
    if any(task.request_hash != tasks[0].request_hash for task in found.values()):
        raise Conflict("idempotency_key 已用于其他请求, 请使用新的键",
                       "idempotency_key was used for another request; use a new one")
    return found


def _in_order(tasks: list[Task], found: dict[str, Task]) -> list[Task]:
    return [found[key] for task in tasks if (key := task.idempotency_key) in found and key is not None]
