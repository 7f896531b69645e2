"""The mailbox between the thread that talks to the broker and the worker's thread that receives."""
from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from shared.documents import Priority
from shared.messages import ControlTask
from shared.queue import Delivery
from shared.queue.topology import PRIORITIES

QueueName = tuple[str, Priority]

# Which priority comes first, in turn: 8 high, 4 normal, 1 low. The others follow if its queues are empty.
TURNS: tuple[Priority, ...] = ("high", "high", "normal") * 4 + ("low",)

# How long doorbells stay in hand between two calls of `receive`; after that others may have them.
LINGER_S = 0.2

NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Demand:
    """What the receiver wants of doorbells: those of these targets, `more` than are in hand or not. It holds for
    `for_s` seconds if nothing changes."""

    platforms: frozenset[str]
    more: bool
    for_s: float


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
        self._wanted = NOBODY  # by the receiver that waits, or did until just now
        self._waiting = False
        self._keep_until = 0.0
        self._woken = False
        self._turn = 0
        self._served: dict[QueueName, int] = {}  # at which turn last

    # --- the receiver's side ----------------------------------------------------------------------------------------

    def expect(self, platforms: frozenset[str]) -> None:
        """The receiver is about to wait, for these targets' doorbells or none."""
        with self._changed:
            self._wanted, self._waiting = platforms, True

    def receive(self, timeout_s: float) -> Delivery | None:
        """The next message of those expected; None after `timeout_s` or `wake`."""
        with self._changed:
            try:
                self._changed.wait_for(lambda: self._woken or self._controls or self._in_hand(), timeout_s)
                if self._controls:
                    return Delivery(self._controls.pop(next(iter(self._controls))), _nothing, _nothing)
                if in_hand := self._in_hand():
                    return self._take_run(in_hand)
                self._woken = False
                return None
            finally:
                self._waiting = False
                self._keep_until = time.monotonic() + LINGER_S

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def watch(self, task_id: str) -> None:
        with self._changed:
            self._watched.add(task_id)

    def wait_bound(self, task_id: str, timeout_s: float) -> bool:
        """Until control messages of this task arrive, or there is no link that could bring them. Whether they arrived
        before the call."""
        with self._changed:
            if self._bound is not None and task_id in self._bound:
                return True
            self._changed.wait_for(lambda: self._bound is None or task_id in self._bound, timeout_s)
            return False

    def unwatch(self, task_id: str) -> None:
        with self._changed:
            self._watched.discard(task_id)
            self._controls.pop(task_id, None)

    def _in_hand(self) -> list[QueueName]:
        return [queue for queue, _ in self._runs if queue[0] in self._wanted]

    def _take_run(self, among: list[QueueName]) -> Delivery:
        first = self._order(among)[0]
        position = next(position for position, (queue, _) in enumerate(self._runs) if queue == first)
        self._turn += 1
        self._served[first] = self._turn
        return self._runs.pop(position)[1]

    # --- the link's side --------------------------------------------------------------------------------------------

    def demand(self) -> Demand:
        with self._changed:
            return self._demand()

    def _demand(self) -> Demand:
        if self._waiting:
            return Demand(self._wanted, bool(self._wanted) and not self._in_hand(), float("inf"))
        left_s = self._keep_until - time.monotonic()
        return Demand(self._wanted, False, left_s) if left_s > 0 else Demand(NOBODY, False, float("inf"))

    def order(self, queues: list[QueueName]) -> list[QueueName]:
        """The queues, the one first whose turn it is."""
        with self._changed:
            return self._order(queues)

    def _order(self, queues: list[QueueName]) -> list[QueueName]:
        favourite = TURNS[self._turn % len(TURNS)]
        ordered: list[QueueName] = []
        for priority in (favourite, *(p for p in PRIORITIES if p != favourite)):
            same = [queue for queue in queues if queue[1] == priority]
            # The targets in turn, though not all of them are there each time.
            ordered += sorted(same, key=lambda queue: self._served.get(queue, 0))
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
        """The doorbells in hand that the receiver does not want, or not any more."""
        with self._changed:
            wanted = self._demand().platforms
            unwanted = [delivery for queue, delivery in self._runs if queue[0] not in wanted]
            self._runs = [run for run in self._runs if run[0][0] in wanted]
            return unwanted

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
