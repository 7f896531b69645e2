"""The queue without a broker: workers ask the store by themselves."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence

from shared.documents import Status, Task
from shared.errors import Unavailable, UnreadableDocument
from shared.messages import ControlTask, RunTask
from shared.queue import Delivery
from shared.store import Store
from shared.tls import Tls

WATCH_S = 0.2  # how often the watched tasks are looked at
REOFFER_S = 1.0  # a task that was offered and is still waiting (the claim failed) is not offered again for so long
CANDIDATES = 8  # workers that look at the same moment choose among so many, so that few claims collide


class PollingQueue:
    """Sending is nothing at all; what is in the store will be found within `poll_s` seconds."""

    owes_doorbells = False

    def __init__(self, store: Callable[[], Store], poll_s: float) -> None:
        self._store = store
        self._poll_s = poll_s

    def announce(self, message: RunTask) -> None:
        """The waiting document is the announcement."""

    def announce_many(self, messages: Sequence[RunTask]) -> list[Unavailable | None]:
        return [None] * len(messages)

    def control(self, message: ControlTask) -> None:
        """The changed document is the message."""

    def subscribe(self, worker_id: str, platforms: list[str]) -> PollingSubscription:
        return PollingSubscription(self._store, platforms, self._poll_s)

    def receive_uploads(self, take: Callable[[bytes], None]) -> None:
        """Without a broker no object store can publish anything."""

    def publish_events(self) -> None:
        """Without a broker nobody listens."""

    def ping(self) -> None:
        """There is nothing beside the store that could be down."""

    def close(self) -> None:
        """The store is its owner's to close."""


class PollingSubscription:
    """Asks the store for waiting tasks, and whether watched ones have changed."""

    def __init__(self, store: Callable[[], Store], platforms: list[str], poll_s: float) -> None:
        self._store = store
        self._platforms = platforms
        self._poll_s = poll_s
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._watched: dict[str, tuple[Status, int]] = {}  # status and epoch at the last look
        self._changed: dict[str, ControlTask] = {}
        self._next_look = 0.0
        self._offered: dict[tuple[str, int], float] = {}

    def receive(self, *, platforms: frozenset[str], timeout_s: float) -> Delivery | None:
        deadline = time.monotonic() + timeout_s
        welcome = [platform for platform in self._platforms if platform in platforms]
        step_s = self._poll_s if welcome else WATCH_S
        while True:
            try:
                message = self._find_change() or (self._find_waiting(welcome) if welcome else None)
            except Unavailable:
                message = None
            if message:
                return Delivery(message, ack=_nothing, requeue=_nothing)
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or self._woken.wait(min(step_s, remaining_s)):
                self._woken.clear()
                return None

    def watch_soon(self, task_id: str) -> None:
        """Nothing takes time here."""

    def watch(self, task_id: str) -> bool:
        """Tasks are watched from their claim on, so what is not running any more has changed since."""
        with self._lock:
            self._watched[task_id] = (Status.RUNNING, 0)
        return True

    def unwatch(self, task_id: str) -> None:
        with self._lock:
            self._watched.pop(task_id, None)
            self._changed.pop(task_id, None)

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._woken.set()

    def _find_change(self) -> ControlTask | None:
        """A watched task whose status is another than at the last look, or whose document is gone or unreadable."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + WATCH_S
            with self._lock:
                watched = list(self._watched)
            tasks = self._store().get_many(watched) if watched else {}
            with self._lock:
                for task_id in filter(self._watched.__contains__, watched):
                    self._compare(task_id, tasks.get(task_id))
        with self._lock:
            return self._changed.pop(next(iter(self._changed))) if self._changed else None

    def _compare(self, task_id: str, task: Task | UnreadableDocument | None) -> None:
        status, epoch = self._watched[task_id]
        if not isinstance(task, Task):
            del self._watched[task_id]
            self._changed[task_id] = ControlTask(task_id=task_id, epoch=epoch)
            return
        self._watched[task_id] = (task.status, task.epoch)
        if task.status != status:
            self._changed[task_id] = ControlTask(task_id=task_id, epoch=task.epoch)

    def _find_waiting(self, platforms: list[str]) -> RunTask | None:
        """One of these targets' first waiting tasks; all candidates have the first one's priority."""
        now = time.monotonic()
        self._offered = {key: at for key, at in self._offered.items() if now - at < REOFFER_S}
        waiting = self._store().waiting(platforms, limit=CANDIDATES + len(self._offered))
        fresh = [task for task in waiting if (task.id, task.epoch) not in self._offered][:CANDIDATES]
        if not fresh:
            return None
        task = random.choice([task for task in fresh if task.priority == fresh[0].priority])
        self._offered[task.id, task.epoch] = now
        return RunTask(task_id=task.id, epoch=task.epoch, platform=task.platform, priority=task.priority)


def _nothing() -> None:
    """The document stays as it is; it is offered again if nobody claims it."""


def open_polling(url: str, store: Callable[[], Store], *, timeout_s: float, poll_s: float, tls: Tls) -> PollingQueue:
    return PollingQueue(store, poll_s)
