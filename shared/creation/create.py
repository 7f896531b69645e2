"""The use case itself. It knows neither HTTP nor a queue's messages: a new door builds a `CreateTask` and calls it."""
from __future__ import annotations

from shared.creation.documents import build_tasks, request_keys
from shared.creation.requests import CreateTask
from shared.creation.storing import first_answer, store_once
from shared.deps import get_queue, get_store
from shared.documents import Source, Task
from shared.doorbells import ring
from shared.preflight.admission import refuse_hopeless
from shared.preflight.conflicts import refuse_conflicts, refuse_leaving
from shared.settings import get_settings


def create_tasks(request: CreateTask, *, source: Source | None = None) -> list[Task]:
    """Store a task for each target of the request, then ring for each; a group's tasks come in their targets' order.

    The tasks are safe in the store before a worker hears of them. All of them are stored, or none. A repeated
    `idempotency_key` returns the tasks of the first request, whatever has become of the model since; no new doorbell is
    rung for them.

    `source` is the upload that asks for it. Nobody reads an answer to an upload. So what is certain to fail is not
    refused then: its task fails, and says why in the lists and to whoever waits for it.

    Raises:
        InvalidRequest: the request is wrong, or what it asks for is certain to fail.
        Conflict: the idempotency key was used for another request, or a result would replace what is not the task's,
            or an upload that it names is about to go.
        Unavailable: the store does not answer.
    """
    tasks = build_tasks(request, get_settings())
    if request.idempotency_key and (answered := first_answer(tasks)):
        return answered
    if source is None:
        refuse_hopeless(tasks, get_settings(), several=request.targets is not None)
        refuse_conflicts(tasks)
    else:
        tasks = [task.model_copy(update={"source": source}) for task in tasks]
    refuse_leaving(tasks, get_settings())  # the last look before they are stored
    stored, new = store_once(tasks)
    queue_answers = True  # a queue that does not answer once is not waited for again in this request
    for task in new:
        queue_answers = queue_answers and ring(task, get_store(), get_queue())
    return stored


def earlier_tasks(idempotency_key: str) -> list[Task]:
    """The tasks that a request with this key has made, whatever it asked for. Empty where there was none, or where it
    was cut off before its end.

    Raises:
        Unavailable: the store does not answer.
    """
    keys = request_keys(idempotency_key)
    found = get_store().find_by_keys(keys)
    whole = keys[0] in found or keys[1] in found  # the first task of a group is stored last
    return [found[key] for key in keys if key in found] if whole else []
