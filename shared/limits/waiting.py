"""How many tasks may wait: counted in the store, exactly, when tasks are created or retried."""
from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from shared.access import seen_tenant
from shared.deps import get_store
from shared.documents import Status
from shared.errors import Unavailable
from shared.limits.callers import EVERYBODY, caller_name
from shared.limits.checks import reached
from shared.settings import get_settings
from shared.store import TaskFilter
from shared.texts import Text

RETRY_AFTER_S = 10  # nobody knows when a worker takes the next task

logger = logging.getLogger(__name__)


@contextmanager
def places_for(task_ids: Sequence[str]) -> Iterator[None]:
    """Inside, these tasks are stored, or wait again: there is room for all of them.

    Raises:
        LimitReached: there is not.
    """
    settings = get_settings()
    with ExitStack() as stack:
        for name, tenant, setting, most in (
                (caller_name(), seen_tenant(), "LIMIT_WAITING_TASKS", settings.limit_waiting_tasks),
                (EVERYBODY, None, "LIMIT_ALL_WAITING_TASKS", settings.limit_all_waiting_tasks)):
            if most and task_ids:
                waiting = TaskFilter(status=Status.PENDING, tenant=tenant)
                stack.enter_context(_places(name, setting, most, waiting, task_ids))
        yield


@contextmanager
def _places(name: str, setting: str, most: int, narrow: TaskFilter, task_ids: Sequence[str]) -> Iterator[None]:
    count = f"waiting/{name}"
    if not get_store().take_places(count, task_ids, most, narrow):
        raise reached(setting, Text(f"最多 {most} 个任务等待执行", f"at most {most} tasks may wait"), RETRY_AFTER_S)
    try:
        yield
    except Unavailable:
        raise  # the tasks may be stored all the same, a little later: they keep their places until these are forgotten
    except BaseException:
        _leave(count, task_ids)
        raise
    else:
        _leave(count, task_ids)


def _leave(count: str, task_ids: Sequence[str]) -> None:
    """The tasks are stored or not, whatever becomes of their places."""
    try:
        get_store().leave_places(count, task_ids)
    except Unavailable as error:
        logger.warning("the places of %s tasks stay until they are forgotten: %s", len(task_ids), error)
