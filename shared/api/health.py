"""Whether store, queue and files answer, and how many documents cannot be read; asked all at once."""
from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Literal

from pydantic import Field

from shared.access import get_caller
from shared.deps import get_files, get_queue, get_store
from shared.documents import Task
from shared.errors import AppError, Unavailable
from shared.files import Files
from shared.platforms import get_platforms
from shared.queue import Queue
from shared.schema import Model
from shared.settings import get_settings
from shared.store import Store, TaskFilter
from shared.store.sightings import get_sightings

LOOKED_AT = 50  # tasks of each kind, for those that cannot be read
SLACK_S = 0.3  # what an answer takes on top of the slowest dependency's own time limit


class DependencyHealth(Model):
    state: Literal["up"] = "up"
    latency_ms: float


class UnreadableDocuments(Model):
    """Documents that are damaged or of another version. The log names them."""

    tasks: int = Field(description="among the newest, those that wait and those that this process has come across")
    workers: int


class Health(Model):
    """Every dependency answers; where one does not, the answer is 503 in the error form and its message names it."""

    dependencies: dict[str, DependencyHealth]
    unreadable: UnreadableDocuments | None = Field(
        description="nothing else suffers from them; null where the store did not answer that in time")


def _ping(get: Callable[[], Store | Queue | Files]) -> float:
    """Milliseconds until the answer."""
    began = time.perf_counter()
    get().ping()
    return round((time.perf_counter() - began) * 1000, 2)


def check_health() -> Health:
    """The health of each dependency. Where keys are needed, who shows none with the scope admin is told whether all is
    well, and no more.

    Raises:
        Unavailable: a dependency does not answer in time. The error form has no data, so its message names all with
            state and latency, the same words in both languages: `queue down 1500 ms, store up 2 ms, files up 1 ms`.
    """
    caller = get_caller()
    told_all = caller is None or "admin" in caller.scopes
    limit_s = get_settings().dependency_timeout_s + SLACK_S
    pool = ThreadPoolExecutor(4, "ping")
    pings = {name: pool.submit(_ping, get)
             for name, get in (("store", get_store), ("queue", get_queue), ("files", get_files))}
    began = time.perf_counter()
    count = pool.submit(_count_unreadable)
    asked: list[Future[Any]] = [*pings.values(), count]
    done, _ = wait(asked, limit_s)
    pool.shutdown(wait=False, cancel_futures=True)
    up = {name: ping.result() for name, ping in pings.items() if ping in done and not _failed(ping)}
    if len(up) < len(pings):
        waited_ms = round((time.perf_counter() - began) * 1000)
        if not told_all:
            raise Unavailable("service")
        down = [f"{name} down {waited_ms} ms{_told(ping, ping in done)}" for name, ping in pings.items()
                if name not in up]
        raise Unavailable(", ".join(down + [f"{name} up {latency_ms:g} ms" for name, latency_ms in up.items()]))
    if not told_all:
        return Health(dependencies={}, unreadable=None)
    return Health(dependencies={name: DependencyHealth(latency_ms=latency_ms) for name, latency_ms in up.items()},
                  unreadable=count.result() if count in done and not _failed(count) else None)


def _count_unreadable() -> UnreadableDocuments:
    """A bounded look. What nobody has come across and is neither new nor waiting is not in it."""
    store, sightings = get_store(), get_sightings()
    store.list_page(TaskFilter(), 1, LOOKED_AT)
    store.waiting(list(get_platforms()), limit=LOOKED_AT)
    store.workers()
    seen = sightings.ids("task")[-LOOKED_AT:]
    still = {task_id for task_id, task in store.get_many(seen).items() if not isinstance(task, Task)} if seen else set()
    for task_id in set(seen) - still:
        sightings.forget("task", task_id)  # it was mended, or deleted
    return UnreadableDocuments(tasks=len(still), workers=len(sightings.ids("worker")))


def _told(ping: Future[float], is_done: bool) -> str:
    """What an operator mends in the settings is said; other reasons are in the log."""
    error = ping.exception() if is_done else None
    return f" (TLS: {error.tls_fault})" if isinstance(error, Unavailable) and error.tls_fault else ""


def _failed(ping: Future[Any]) -> bool:
    """True if the dependency did not answer. An error that is no `AppError` is a fault in this code and is raised."""
    error = ping.exception()
    if error is not None and not isinstance(error, AppError):
        raise error
    return error is not None
