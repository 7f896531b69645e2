"""What the work under way in this thread may last. Work that nobody has limited may last for ever."""
from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shared.errors import OutOfTime

MAX_TURNS = 20_000  # of the loops of one piece of work; a calibration set has half as many files at most
WORK_S, REST_S = 0.002, 0.004


class _Limit:
    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.turns = 0
        self.rested_at = time.monotonic()


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


@contextmanager
def ending_at(moment: float) -> Iterator[None]:
    """Inside, the work is to end at `moment` (monotonic), or earlier where an outer limit says so."""
    outer = _limit.get()
    token = _limit.set(_Limit(min(moment, outer.ends_at) if outer else moment))
    try:
        yield
    finally:
        _limit.reset(token)


def left_s() -> float:
    """Seconds until the end; not below 0."""
    limit = _limit.get()
    return max(0.0, limit.ends_at - time.monotonic()) if limit else math.inf


def check_time() -> None:
    """To be called in each turn of a loop that others make long. Limited work rests in between: only one thread of a
    process computes at a time, and other requests wait for it.

    Raises:
        OutOfTime: the end has come, or there were too many turns.
    """
    limit = _limit.get()
    if limit is None:
        return
    limit.turns += 1
    now = time.monotonic()
    if now >= limit.ends_at or limit.turns > MAX_TURNS:
        raise OutOfTime
    if now - limit.rested_at > WORK_S:
        time.sleep(REST_S)
        limit.rested_at = time.monotonic()
