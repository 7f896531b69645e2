"""Between the thread that talks to the broker and the worker's thread that receives."""
from __future__ import annotations

import threading
import time
from collections import Counter
from enum import Enum, auto

from shared.messages import ControlTask
from shared.models import Priority
from shared.queue import Delivery
from shared.queue.topology import PRIORITIES

QueueName = tuple[str, Priority]

# Which priority comes first, in turn: 8 high, 4 normal, 1 low. The others follow if its queues are empty.
TURNS: tuple[Priority, ...] = ("high", "high", "normal") * 4 + ("low",)

# How long doorbells stay in hand between two calls of `receive`; after that others may have them.
LINGER_S = 0.2


class Demand(Enum):
    """What the receiver wants of doorbells."""

    NONE = auto()
    KEEP = auto()  # those in hand, no more
    MORE = auto()


class Mailbox:
    """Messages in hand, and what the receiver wants. Thread-safe; no method but `receive` and `watch` waits.

    Control messages of one task that were not received yet are one. Doorbells are few: at most one of each queue.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._runs: list[tuple[QueueName, Delivery]] = []
        self._controls: dict[str, ControlTask] = {}
        self._watched: set[str] = set()
        self._bound: set[str] | None = None  # None: no link
        self._waiting_for_runs = False
        self._keep_until = 0.0
        self._woken = False
        self._turn = 0
        self._served: Counter[Priority] = Counter()

    # --- the receiver's side ----------------------------------------------------------------------------------------

    def expect(self, accept_runs: bool) -> None:
        """The receiver is about to wait, for doorbells or not."""
        with self._changed:
            self._waiting_for_runs = accept_runs
            self._keep_until = 0.0

    def receive(self, accept_runs: bool, timeout_s: float) -> Delivery | None:
        """The next message; None after `timeout_s` or `wake`."""
        with self._changed:
            try:
                self._changed.wait_for(lambda: self._woken or self._controls or (accept_runs and self._runs), timeout_s)
                if self._controls:
                    return Delivery(self._controls.pop(next(iter(self._controls))), _nothing, _nothing)
                if accept_runs and self._runs:
                    return self._take_run()
                self._woken = False
                return None
            finally:
                self._waiting_for_runs = False
                self._keep_until = time.monotonic() + LINGER_S if accept_runs else 0.0

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def watch(self, task_id: str) -> None:
        with self._changed:
            self._watched.add(task_id)

    def wait_bound(self, task_id: str, timeout_s: float) -> None:
        """Until control messages of this task arrive, or there is no link that could bring them."""
        with self._changed:
            self._changed.wait_for(lambda: self._bound is None or task_id in self._bound, timeout_s)

    def unwatch(self, task_id: str) -> None:
        with self._changed:
            self._watched.discard(task_id)
            self._controls.pop(task_id, None)

    def _take_run(self) -> Delivery:
        order = self._order([queue for queue, _ in self._runs])
        position = min(range(len(self._runs)), key=lambda i: order.index(self._runs[i][0]))
        (_, priority), delivery = self._runs.pop(position)
        self._turn += 1
        self._served[priority] += 1
        return delivery

    # --- the link's side --------------------------------------------------------------------------------------------

    def demand(self) -> tuple[Demand, float]:
        """What is wanted, and for how many seconds that holds if nothing changes."""
        with self._changed:
            if self._waiting_for_runs:
                return (Demand.KEEP if self._runs else Demand.MORE), float("inf")
            left_s = self._keep_until - time.monotonic()
            return (Demand.KEEP, left_s) if left_s > 0 else (Demand.NONE, float("inf"))

    def order(self, queues: list[QueueName]) -> list[QueueName]:
        """The queues, the one first whose turn it is."""
        with self._changed:
            return self._order(queues)

    def _order(self, queues: list[QueueName]) -> list[QueueName]:
        favourite = TURNS[self._turn % len(TURNS)]
        ordered: list[QueueName] = []
        for priority in (favourite, *(p for p in PRIORITIES if p != favourite)):
            same = [queue for queue in queues if queue[1] == priority]
            shift = self._served[priority] % max(1, len(same))  # the targets in turn
            ordered += same[shift:] + same[:shift]
        return ordered

    def put_run(self, queue: QueueName, delivery: Delivery) -> None:
        with self._changed:
            self._runs.append((queue, delivery))
            self._changed.notify_all()

    def put_control(self, message: ControlTask) -> None:
        with self._changed:
            if message.task_id in self._watched:
                self._controls[message.task_id] = message
                self._changed.notify_all()

    def take_back(self) -> list[Delivery]:
        """The doorbells in hand, which the receiver does not want any more."""
        with self._changed:
            if self._waiting_for_runs:
                return []  # it has come back meanwhile
            runs, self._runs = self._runs, []
            return [delivery for _, delivery in runs]

    def watched(self) -> set[str]:
        with self._changed:
            return set(self._watched)

    def set_bound(self, task_ids: set[str] | None) -> None:
        """These tasks' control messages arrive; None: the link is gone, and the doorbells in hand with it."""
        with self._changed:
            self._bound = task_ids
            if task_ids is None:
                self._runs.clear()
            self._changed.notify_all()


def _nothing() -> None:
    """There is nothing to answer to a control message."""
