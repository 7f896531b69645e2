"""Queue on RabbitMQ: confirmed publishes; see `rabbitmq_subscription` for the receiving side."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as WaitTimeout

import pika

from shared.errors import Unavailable
from shared.messages import ControlTask, RunTask
from shared.queue.rabbitmq_events import RabbitEvents
from shared.queue.rabbitmq_link import Link, LinkLost, Publication, Refused, Unroutable
from shared.queue.rabbitmq_subscription import RabbitSubscription
from shared.queue.rabbitmq_uploads import RabbitUploads
from shared.queue.topology import CONTROL_EXCHANGE, RUN_EXCHANGE, control_key, run_key
from shared.store import Store

HEARTBEAT_S = 10
# A link that was silent for so long may be dead without knowing it, as after a function was frozen between two calls.
FRESH_S = 5.0


def connection_parameters(url: str, timeout_s: float) -> pika.ConnectionParameters:
    """Pika's form of an amqp(s) URL; connecting takes `timeout_s` at most."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = HEARTBEAT_S
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.stack_timeout = timeout_s
    return parameters


class RabbitQueue:
    """Connects at the first call; every call ends within `timeout_s`."""

    owes_doorbells = True

    def __init__(self, url: str, timeout_s: float) -> None:
        self._parameters = connection_parameters(url, timeout_s)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._link: Link | None = None

    def announce(self, message: RunTask) -> None:
        self._publish(Publication(RUN_EXCHANGE, run_key(message.platform, message.priority), message.encode(),
                                  platform=message.platform))

    def control(self, message: ControlTask) -> None:
        self._publish(Publication(CONTROL_EXCHANGE, control_key(message.task_id), message.encode()))

    def subscribe(self, worker_id: str, platforms: list[str]) -> RabbitSubscription:
        return RabbitSubscription(self._parameters, worker_id, platforms, self._timeout_s)

    def receive_uploads(self, take: Callable[[bytes], None]) -> RabbitUploads:
        return RabbitUploads(self._parameters, take)

    def publish_events(self) -> RabbitEvents:
        return RabbitEvents(self._parameters)

    def ping(self) -> None:
        """A message to nobody: only a confirm shows that the broker takes messages (an alarm stops nothing else)."""
        self._publish(Publication(CONTROL_EXCHANGE, "ping", b""))

    def close(self) -> None:
        with self._lock:
            link, self._link = self._link, None
        if link:
            link.close()

    def _publish(self, publication: Publication) -> None:
        """Until the broker confirms it. What came back, or met a dead connection, goes out once more."""
        deadline = time.monotonic() + self._timeout_s
        for last_try in (False, True):
            link, is_new = self._current_link()
            try:
                link.opened.result(deadline - time.monotonic())
                if link.blocked:
                    raise Unavailable("queue", f"the broker takes no messages: {link.blocked}")
                remaining_s = deadline - time.monotonic()
                fresh = last_try or time.monotonic() - link.confirmed_at < FRESH_S
                link.publish(publication).result(remaining_s if fresh else remaining_s / 2)
                return
            except Unroutable as error:
                if last_try:
                    raise Unavailable("queue", f"no queue takes {publication.routing_key}") from error
            except LinkLost as error:
                if last_try or is_new:
                    raise Unavailable("queue", str(error)) from error
            except Refused as error:
                raise Unavailable("queue", str(error)) from error
            except WaitTimeout as error:
                if link.blocked or deadline - time.monotonic() <= 0:
                    raise Unavailable("queue", link.blocked or f"no confirm in {self._timeout_s} s") from error
                self._drop(link)

    def _current_link(self) -> tuple[Link, bool]:
        """The link in use, and whether it was made just now."""
        with self._lock:
            if self._link and not self._link.lost:
                return self._link, False
            self._link = Link(self._parameters)
            return self._link, True

    def _drop(self, link: Link) -> None:
        with self._lock:
            if self._link is link:
                self._link = None
        link.close()


def open_rabbitmq(url: str, store: Callable[[], Store], *, timeout_s: float, poll_s: float) -> RabbitQueue:
    return RabbitQueue(url, timeout_s)
