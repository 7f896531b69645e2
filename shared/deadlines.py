"""Until when the work under way in this thread may last. Work that nobody has limited may last for ever."""
from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from shared.errors import OutOfTime

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


@contextmanager
def ending_at(moment: float) -> Iterator[None]:
    """Inside, the work is to end at `moment` (monotonic), or earlier where an outer limit says so."""
    token = _ends_at.set(min(moment, _ends_at.get()))
    try:
        yield
    finally:
        _ends_at.reset(token)


def left_s() -> float:
    """Seconds until the end; not below 0."""
    return max(0.0, _ends_at.get() - time.monotonic())


def check_time() -> None:
    """To be called in each turn of a loop that others make long.

    Raises:
        OutOfTime: the end has come.
    """
    if time.monotonic() >= _ends_at.get():
        raise OutOfTime
