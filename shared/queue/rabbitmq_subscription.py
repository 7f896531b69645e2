"""A worker's subscription at RabbitMQ: a thread that keeps a receiver alive, and a mailbox for the worker."""
from __future__ import annotations

import logging
import random
import threading
import time

import pika
from pika.exceptions import AMQPError

from shared.queue import Delivery
from shared.queue.mailbox import Mailbox
from shared.queue.rabbitmq_receiver import Receiver

logger = logging.getLogger(__name__)

FIRST_DELAY_S, LAST_DELAY_S = 0.1, 5.0


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
        self._thread = threading.Thread(target=self._run, name="rabbitmq-subscription", daemon=True)
        self._thread.start()

    def receive(self, *, platforms: frozenset[str], timeout_s: float) -> Delivery | None:
        self._mailbox.expect(platforms)
        self._ring()
        return self._mailbox.receive(timeout_s)

    def watch(self, task_id: str) -> None:
        self._mailbox.watch(task_id)
        self._ring()
        self._mailbox.wait_bound(task_id, self._timeout_s)

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

    def _run(self) -> None:
        delay_s = FIRST_DELAY_S
        while not self._closed.is_set():
            started = time.monotonic()
            try:
                self._consume()
            except (AMQPError, OSError) as error:
                logger.warning("the link to the broker is down: %r", error)
            except Exception:
                # Whatever it was, a worker must not go deaf: it would look alive and never run a task again.
                logger.exception("the link to the broker failed")
            finally:
                self._receiver = None
                self._mailbox.set_bound(None)
            if time.monotonic() - started > LAST_DELAY_S:
                delay_s = FIRST_DELAY_S
            self._closed.wait(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(2 * delay_s, LAST_DELAY_S)

    def _consume(self) -> None:
        with pika.BlockingConnection(self._parameters) as connection:
            receiver = Receiver(connection, self._worker_id, self._platforms, self._mailbox)
            self._mailbox.set_bound(set())
            self._receiver = receiver
            while not self._closed.is_set():
                receiver.tick()
            receiver.flush()
