"""Doorbells and control messages: the protocol, and the choice of an adapter by URL scheme.

The store is the truth; a queue only buys latency and fan-out. So every sender may lose, double or delay.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.adapters import Adapter, find_factory
from shared.errors import Unavailable
from shared.messages import ControlTask, RunTask
from shared.store import Store
from shared.tls import NO_FILES, Tls


@dataclass(frozen=True)
class Delivery:
    """A received message. Call `ack` once a claim is journaled or lost, never after the work; `requeue` hands a
    doorbell back. Both are called from the thread that calls `Subscription.receive`; both are safe on a dead link."""

    message: RunTask | ControlTask
    ack: Callable[[], None]
    requeue: Callable[[], None]


class Subscription(Protocol):
    """A worker's ear. One thread calls `receive` and the deliveries' `ack`; the other methods are thread-safe."""

    def receive(self, *, platforms: frozenset[str], timeout_s: float) -> Delivery | None:
        """The next message, or None after `timeout_s` or after `wake`.

        Doorbells come only of `platforms`, the targets that the worker has room for now: one at a time, the high ones
        first but no low one starved. None of another target is held back from other workers. Reconnects by itself:
        while the link is down it waits and answers None, it never raises.
        """

    def watch_soon(self, task_id: str) -> None:
        """Begin what `watch` waits for. For who has something else to do meanwhile, such as the claim."""

    def watch(self, task_id: str) -> bool:
        """Control messages of this task come here from now on. Whether they did before: what was sent meanwhile may
        else be lost."""

    def unwatch(self, task_id: str) -> None: ...

    def wake(self) -> None:
        """Let a waiting `receive` return at once."""

    def close(self) -> None: ...


class Intake(Protocol):
    """What takes object stores' events out of the broker, in a thread of its own."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class EventMessage:
    """An event of a task for whoever listens. `type` is the event's, `id` the same each time that it is published."""

    type: str
    id: str
    body: bytes
    content_type: str


class EventRefused(Unavailable):
    """A queue that is bound to the events takes no more, most likely since it is full. The other queues have it."""


class EventPublisher(Protocol):
    """Publishes tasks' events, one process at a time. All methods are called from one thread."""

    def take_turn(self) -> bool:
        """Whether it is this process that publishes now, until its link to the broker ends. It is a courtesy: for a
        moment there may be two.

        Raises:
            Unavailable: the broker did not answer.
        """

    def publish(self, messages: Sequence[EventMessage]) -> list[Unavailable | None]:
        """What kept the broker from confirming each, `EventRefused` where it was a listener's queue; None: it is there
        for all who listen, and durable. Unconfirmed is not unsent."""

    def close(self) -> None:
        """End the link, and this process's turn with it. The next call opens another one."""


class Queue(Protocol):
    """The sending side; thread-safe."""

    owes_doorbells: bool  # False: waiting tasks are found without being announced (poll:)

    def announce(self, message: RunTask) -> None:
        """Durable with the broker when it returns.

        Raises:
            Unavailable: not confirmed in time. Unconfirmed is not unsent.
        """

    def announce_many(self, messages: Sequence[RunTask]) -> list[Unavailable | None]:
        """`announce` for each, with one wait for all: what kept the broker from confirming it. The wait takes no longer
        than that for one."""

    def control(self, message: ControlTask) -> None:
        """To the owner, if any; nobody listening is no error.

        Raises:
            Unavailable: not confirmed in time.
        """

    def subscribe(self, worker_id: str, platforms: list[str]) -> Subscription: ...

    def receive_uploads(self, take: Callable[[bytes], None]) -> Intake | None:
        """Call `take` with each event that an object store publishes, until the intake is closed; None where there is
        no broker. An event is acknowledged after `take`, and comes again later where that raises `Unavailable` or
        `Busy`. Reconnects by itself."""

    def publish_events(self) -> EventPublisher | None:
        """A publisher of tasks' events; None where there is no broker."""

    def ping(self) -> None:
        """Raises `Unavailable` when the broker does not answer."""

    def close(self) -> None: ...


ADAPTERS = {
    "poll": Adapter("shared.queue.polling:open_polling"),
    "amqp": Adapter("shared.queue.rabbitmq:open_rabbitmq", "pip install pika"),
    "amqps": Adapter("shared.queue.rabbitmq:open_rabbitmq", "pip install pika"),
}


def open_queue(url: str, store: Callable[[], Store], *, timeout_s: float, poll_s: float,
               tls: Tls = NO_FILES) -> Queue:
    """The queue that the URL names; nothing is connected before the first call that needs it. A queue that polls asks
    `store` every `poll_s`.

    Raises:
        AppError: the scheme is unknown, or its driver is not installed.
    """
    return find_factory("queue", ADAPTERS, url)(url, store, timeout_s=timeout_s, poll_s=poll_s, tls=tls)
