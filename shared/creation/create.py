"""The use case itself. It knows neither HTTP nor a queue's messages: a new door builds a `CreateTask` and calls it."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.access import own_tenant
from shared.creation.documents import build_tasks, first_keys, key_of_tenant, request_keys
from shared.creation.requests import CreateTask
from shared.creation.storing import first_answer, store_all, store_once
from shared.deps import get_queue, get_store
from shared.documents import Task
from shared.doorbells import ring_all
from shared.errors import Conflict
from shared.limits.waiting import places_for
from shared.preflight.admission import refuse_hopeless
from shared.preflight.conflicts import refuse_conflicts, refuse_leaving
from shared.settings import get_settings
from shared.store import TurnTaken


def create_tasks(request: CreateTask) -> list[Task]:
    """Store a task for each target of the request, then ring for each; a group's tasks come in their targets' order.

    The tasks are safe in the store before a worker hears of them. All of them are stored, or none. A repeated
    `idempotency_key` returns the tasks of the first request, whatever has become of the model since; no new doorbell is
    rung for them.

    Raises:
        InvalidRequest: the request is wrong, or what it asks for is certain to fail.
        Conflict: the idempotency key was used for another request, or a result would replace what is not the task's,
            or an upload that it names is about to go.
        TurnTaken: of an upload with `turns`: another one has got its output since they were read.
        LimitReached: too many tasks wait already.
        Unavailable: the store does not answer.
    """
    if request.idempotency_key:
        key = key_of_tenant(request.idempotency_key, own_tenant())
        request = request.model_copy(update={"idempotency_key": key})
    tasks = build_tasks(request, get_settings())
    if request.idempotency_key and (answered := first_answer(tasks)):
        return answered
    refuse_hopeless(tasks, get_settings(), several=request.targets is not None)
    refuse_conflicts(tasks)
    refuse_leaving(tasks, get_settings())  # the last look before they are stored
    with places_for([task.id for task in tasks]):
        stored, new = store_once(tasks)
    ring_all(new, get_store(), get_queue())
    return stored


@dataclass(frozen=True)
class Created:
    """The stored tasks of a request, and those of them that this call has stored: they wait for `ring_all`."""

    tasks: list[Task]
    new: list[Task]


def create_for_uploads(requests: Sequence[list[Task]]) -> list[Created | Conflict | TurnTaken]:
    """`create_tasks` for requests that uploads make, each as the tasks that `build_tasks` has made of it, with their
    `source`. They have nothing to do with each other. The caller is to ring for the new tasks.

    Nobody reads an answer to an upload. So what is certain to fail is not refused: its task fails, and says why in the
    lists and to whoever waits for it. Nor does a limit of waiting tasks hold it up: its task counts, and clients find
    less room. `TurnTaken`: another upload has got an output since the turns were read.

    Raises:
        Unavailable: the store does not answer. Some tasks may be stored, and are found when the same is asked again.
    """
    answers: dict[int, Created | Conflict | TurnTaken] = {}
    for number, tasks in enumerate(requests):
        try:
            refuse_leaving(tasks, get_settings())  # the last look before they are stored
        except Conflict as error:
            answers[number] = error
    left = [number for number in range(len(requests)) if number not in answers]
    for number, answer in zip(left, store_all([requests[number] for number in left]), strict=True):
        answers[number] = Created(*answer) if isinstance(answer, tuple) else answer
    return [answers[number] for number in range(len(requests))]


def earlier_tasks(idempotency_keys: Iterable[str]) -> dict[str, list[Task]]:
    """The tasks that requests with these keys have made, whatever they asked for. Left out are keys of which there was
    no request, or one that was cut off before its end.

    Raises:
        Unavailable: the store does not answer.
    """
    first = {key: first_keys(key) for key in idempotency_keys}
    there = get_store().find_by_keys([name for names in first.values() for name in names]) if first else {}
    groups = [key for key, (_, of_a_group) in first.items() if of_a_group in there]
    members = get_store().find_by_keys([name for key in groups for name in request_keys(key)]) if groups else {}
    found = {key: [there[key]] for key in first if key in there and key not in groups}
    return found | {key: [members[name] for name in request_keys(key) if name in members] for key in groups}
