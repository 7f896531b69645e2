"""What is wanted of a running task: go on, stand still, give it back, or drop it."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum

from shared.documents import Status, Task


class Wanted(Enum):
    RUN = "run"
    PAUSE = "pause"
    RELEASE = "release"  # this worker is shutting down: somebody else goes on
    STOP = "stop"  # cancelled, deleted, or another's by now: leave nothing behind


class TaskControl:
    """Shared by the task's thread, the beating thread and the consumer.

    The store's answers may be observed out of order; each answer to an owner's write carries a higher `beat`, so an
    older one is told by its beat and ignored.
    """

    def __init__(self, task: Task) -> None:
        self._lock = threading.Lock()
        self._wanted = Wanted.RUN
        self._seen_beat = -1
        self._owner, self._epoch = task.owner, task.epoch
        self.progress = task.progress
        self.log_lines: list[str] = []  # the running stage's last
        self.paused_since: float | None = None
        self.when_interrupted: Callable[[], None] | None = None  # the running stage stands still or ends early
        self.give_up = False  # end the running stage now: its slot is needed, or the worker has no more time

    @property
    def wanted(self) -> Wanted:
        return self._wanted

    def observe(self, task: Task | None) -> None:
        """Take in the document as the store last answered it; None where it is gone or no longer ours."""
        with self._lock:
            if self._wanted is Wanted.STOP:
                return
            if task is None or (task.owner, task.epoch) != (self._owner, self._epoch):
                self._want(Wanted.STOP)
            elif task.beat >= self._seen_beat:
                self._seen_beat = task.beat
                if self._wanted is not Wanted.RELEASE or task.status is Status.PAUSED:
                    self._want(Wanted.PAUSE if task.status is Status.PAUSED else Wanted.RUN)

    def _want(self, wanted: Wanted) -> None:
        if wanted is not self._wanted:
            self._wanted = wanted
            self.paused_since = time.monotonic() if wanted is Wanted.PAUSE else None
            if wanted in (Wanted.PAUSE, Wanted.STOP) and self.when_interrupted is not None:
                self.when_interrupted()

    def release(self) -> None:
        with self._lock:
            if self._wanted is Wanted.RUN:
                self._wanted = Wanted.RELEASE
