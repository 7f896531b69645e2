"""Housekeeping that any worker does for all: ring for tasks that wait unannounced, free those whose owner is dead."""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from shared import transitions
from shared.doorbells import ring
from shared.errors import Unavailable, UnreadableDocument
from shared.queue import Queue
from shared.settings import Settings
from shared.store import Claim, Store

logger = logging.getLogger(__name__)

ANNOUNCE_LIMIT = 500  # doorbells a sweep; the rest is the next one's


class Reaper:
    """Remembers when it first saw each claim as it is now, on its own monotonic clock. A claim that did not change
    through a whole lease of successful looks belongs to a dead owner."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._settings, self._clock = store, settings, clock
        self._first_seen: dict[Claim, float] = {}
        self._last_look: float | None = None

    def look(self) -> list[str]:
        """One look; the ids of the tasks that it freed.

        Raises:
            Unavailable: the store did not answer; all watches start anew.
        """
        now = self._clock()
        # A reaper that slept (or was frozen) has not watched: what it remembers proves nothing.
        if self._last_look is not None and now - self._last_look > self._settings.lease_s / 2:
            self._first_seen.clear()
        try:
            claims = self._store.owned()
            self._last_look = self._clock()
            self._first_seen = {claim: self._first_seen.get(claim, self._last_look) for claim in claims}
            return [claim.id for claim, since in self._first_seen.items()
                    if now - since >= self._settings.lease_s and self._reap(claim)]
        except Unavailable:
            self._first_seen.clear()
            raise

    def _reap(self, claim: Claim) -> bool:
        change = transitions.reap(claim, max_retries=self._settings.max_retries, delay_s=self._settings.retry_delay_s)
        try:
            freed = self._store.update(claim.id, change) is not None
        except UnreadableDocument:
            return False  # the reader has told the log; it is left to those who can read it
        if freed:
            logger.warning("the owner is dead, the task is freed", extra={"task_id": claim.id, "owner": claim.owner})
        return freed


class Announcer:
    """Rings for waiting tasks that still owe their doorbell, once they were seen so in two sweeps: whoever made them
    is most likely ringing right now."""

    def __init__(self, store: Store, queue: Queue, platforms: list[str]) -> None:
        self._store, self._queue, self._platforms = store, queue, platforms
        self._seen: set[tuple[str, int]] = set()

    def look(self) -> int:
        """One sweep; how many doorbells it rang. Raises `Unavailable` (the store's)."""
        waiting = self._store.waiting(self._platforms, limit=ANNOUNCE_LIMIT, unannounced=True)
        rung, refused = 0, set()  # a queue that is full, or a broker that is away, is asked once
        for task in waiting:
            if (task.id, task.epoch) not in self._seen or (task.platform, task.priority) in refused:
                continue
            if ring(task, self._store, self._queue):
                rung += 1
            else:
                refused.add((task.platform, task.priority))
        self._seen = {(task.id, task.epoch) for task in waiting}
        return rung


class Sweeper:
    """Runs both from one thread until closed."""

    def __init__(self, store: Store, queue: Queue, settings: Settings, platforms: list[str]) -> None:
        self._settings = settings
        self._reaper = Reaper(store, settings)
        self._announcer = Announcer(store, queue, platforms) if queue.owes_doorbells else None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        look_s = min(self._settings.lease_s / 5, self._settings.sweep_s)
        next_sweep = 0.0
        while not self._closed.wait(look_s):
            try:
                self._reaper.look()
                if self._announcer and time.monotonic() >= next_sweep:
                    next_sweep = time.monotonic() + self._settings.sweep_s
                    self._announcer.look()
            except Unavailable as error:
                logger.warning("the sweep waits: %s", error)
            except Exception:
                logger.exception("a sweep failed")
