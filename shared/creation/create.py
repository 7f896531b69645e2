"""The use case itself. It knows neither HTTP nor a queue's messages: a new door builds a `CreateTask` and calls it."""
from __future__ import annotations

from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.creation.storing import first_answer, store_once
from shared.deps import get_queue, get_store
from shared.documents import Task
from shared.doorbells import ring
from shared.preflight.admission import refuse_hopeless
from shared.preflight.conflicts import refuse_conflicts
from shared.settings import get_settings


def create_tasks(request: CreateTask) -> list[Task]:
    """Store a task for each target of the request, then ring for each; a group's tasks come in their targets' order.

    The tasks are safe in the store before a worker hears of them. All of them are stored, or none. A repeated
    `idempotency_key` returns the tasks of the first request, whatever has become of the model since; no new doorbell is
    rung for them.

    Raises:
        InvalidRequest: the request is wrong, or what it asks for is certain to fail.
        Conflict: the idempotency key was used for another request, or a result would replace what is not the task's.
        Unavailable: the store does not answer.
    """
    tasks = build_tasks(request, get_settings())
    if request.idempotency_key and (answered := first_answer(tasks)):
        return answered
    refuse_hopeless(tasks, get_settings(), several=request.targets is not None)
    refuse_conflicts(tasks)
    stored, new = store_once(tasks)
    queue_answers = True  # a queue that does not answer once is not waited for again in this request
    for task in new:
        queue_answers = queue_answers and ring(task, get_store(), get_queue())
    return stored
