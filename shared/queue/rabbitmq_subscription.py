"""A worker's subscription at RabbitMQ: a thread that keeps a receiver alive, and a mailbox for the worker."""
from __future__ import annotations

import threading

import pika

from shared.queue import Delivery
from shared.queue.mailbox import Mailbox
from shared.queue.rabbitmq_receiver import Receiver
from shared.queue.reconnecting import keep_consuming


class RabbitSubscription:
    """Connects at once, in a thread of its own: a frozen broker can hold that thread, never a caller."""

    def __init__(self, parameters: pika.ConnectionParameters, worker_id: str, platforms: list[str],
                 timeout_s: float) -> None:
        self._parameters = parameters
        self._worker_id = worker_id
        self._platforms = platforms
        self._timeout_s = timeout_s
        self._mailbox = Mailbox()
        self._receiver: Receiver | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=keep_consuming, args=(self._consume, self._closed),
                                        name="rabbitmq-subscription", daemon=True)
        self._thread.start()

    def receive(self, *, platforms: frozenset[str], timeout_s: float) -> Delivery | None:
        self._mailbox.expect(platforms)
        self._ring()
        return self._mailbox.receive(timeout_s)

    def watch_soon(self, task_id: str) -> None:
        self._mailbox.watch(task_id)
        self._ring()

    def watch(self, task_id: str) -> bool:
        self.watch_soon(task_id)
        return self._mailbox.wait_bound(task_id, self._timeout_s)

    def unwatch(self, task_id: str) -> None:
        self._mailbox.unwatch(task_id)
        self._ring()

    def wake(self) -> None:
        self._mailbox.wake()

    def close(self) -> None:
        self._closed.set()
        self._mailbox.wake()
        self._ring()
        self._thread.join(self._timeout_s)

    def _ring(self) -> None:
        receiver = self._receiver
        if receiver:
            receiver.wake()

    def _consume(self) -> None:
        try:
            with pika.BlockingConnection(self._parameters) as connection:
                receiver = Receiver(connection, self._worker_id, self._platforms, self._mailbox)
                self._mailbox.set_bound(set())
                self._receiver = receiver
                while not self._closed.is_set():
                    receiver.tick()
                receiver.flush()
        finally:
            self._receiver = None
            self._mailbox.set_bound(None)
