"""When some processes stopped, went on or ended, told by the CPU time that each of them has used."""
from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

EVERY_S = 0.001
CPUCLOCK_SCHED = 2  # CPU time as the scheduler counts it, in nanoseconds


class Sample(NamedTuple):
    """What each process had used at a moment of the monotonic clock; those that are gone are missing."""

    at: float
    cpu_ns: dict[int, int]


def read_cpu_ns(pid: int) -> int | None:
    """CPU time of the whole process, a dead one's too until somebody has waited for it; None where it is gone.

    By its CPU clock, whose id is what glibc's clock_getcpuclockid(3) makes of the pid. What a running process has used
    is brought up to date at each tick of the scheduler (4 ms at 250 Hz), and when it stops.
    """
    try:
        return time.clock_gettime_ns(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return None


class CpuTimeline:
    """Looks every millisecond, in a thread of its own, as long as it is entered."""

    def __init__(self, pids: Collection[int]) -> None:
        self._pids = pids
        self._samples: list[Sample] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CpuTimeline:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def samples(self) -> list[Sample]:
        """All so far."""
        return list(self._samples)

    def _run(self) -> None:
        while not self._ended.wait(EVERY_S):
            found = {pid: read_cpu_ns(pid) for pid in self._pids}
            self._samples.append(Sample(time.monotonic(), {p: ns for p, ns in found.items() if ns is not None}))


# Each of these answers the moment of a sample, so what it tells is late by up to `gap_before` it.


def last_growth(samples: Sequence[Sample], since: float, until: float) -> float | None:
    """When any of the processes was last found to have used more than at the sample before; None where none was."""
    return max((now.at for before, now in itertools.pairwise(samples)
                if since < now.at <= until and now.cpu_ns != before.cpu_ns), default=None)


def all_grew(samples: Sequence[Sample], pids: Collection[int], since: float) -> float | None:
    """When each of these processes was first found to have used more than at `since`."""
    then = max((sample for sample in samples if sample.at <= since), key=lambda sample: sample.at)
    return next((sample.at for sample in samples if sample.at > since and all(
        sample.cpu_ns.get(pid, 0) > then.cpu_ns[pid] for pid in pids)), None)


def all_gone(samples: Sequence[Sample]) -> float | None:
    """When none of the processes was there any more."""
    return next((sample.at for sample in samples if not sample.cpu_ns), None)


def gap_before(samples: Sequence[Sample], moment: float) -> float:
    """How long before the sample of this moment nobody had looked, in seconds."""
    return next(now.at - before.at for before, now in itertools.pairwise(samples) if now.at == moment)
