"""Whether store, queue and files answer, asked all at once."""
from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Literal

from shared.deps import get_files, get_queue, get_store
from shared.errors import AppError, Unavailable
from shared.files import Files
from shared.queue import Queue
from shared.schema import Model
from shared.settings import get_settings
from shared.store import Store

SLACK_S = 0.3  # what an answer takes on top of the slowest dependency's own time limit


class DependencyHealth(Model):
    state: Literal["up"] = "up"
    latency_ms: float


class Health(Model):
    """Every dependency answers; where one does not, the answer is 503 in the error form and its message names it."""

    dependencies: dict[str, DependencyHealth]


def _ping(get: Callable[[], Store | Queue | Files]) -> float:
    """Milliseconds until the answer."""
    began = time.perf_counter()
    get().ping()
    return round((time.perf_counter() - began) * 1000, 2)


def check_health() -> Health:
    """The health of each dependency.

    Raises:
        Unavailable: a dependency does not answer in time. The error form has no data, so its message names all with
            state and latency, the same words in both languages: `queue down 1500 ms, store up 2 ms, files up 1 ms`.
    """
    limit_s = get_settings().dependency_timeout_s + SLACK_S
    pool = ThreadPoolExecutor(3, "ping")
    pings = {name: pool.submit(_ping, get)
             for name, get in (("store", get_store), ("queue", get_queue), ("files", get_files))}
    began = time.perf_counter()
    done, _ = wait(pings.values(), limit_s)
    pool.shutdown(wait=False, cancel_futures=True)
    up = {name: ping.result() for name, ping in pings.items() if ping in done and not _failed(ping)}
    if len(up) < len(pings):
        waited_ms = round((time.perf_counter() - began) * 1000)
        down = [f"{name} down {waited_ms} ms" for name in pings if name not in up]
        raise Unavailable(", ".join(down + [f"{name} up {latency_ms:g} ms" for name, latency_ms in up.items()]))
    return Health(dependencies={name: DependencyHealth(latency_ms=latency_ms) for name, latency_ms in up.items()})


def _failed(ping: Future[float]) -> bool:
    """True if the dependency did not answer. An error that is no `AppError` is a fault in this code and is raised."""
    error = ping.exception()
    if error is not None and not isinstance(error, AppError):
        raise error
    return error is not None
