"""Queue on RabbitMQ: confirmed publishes; see `rabbitmq_subscription` for the receiving side."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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
from shared.tls import NO_FILES, Tls, unavailable

HEARTBEAT_S = 10
# A link that was silent for so long may be dead without knowing it, as after a function was frozen between two calls.
FRESH_S = 5.0


def connection_parameters(url: str, timeout_s: float, tls: Tls = NO_FILES) -> pika.ConnectionParameters:
    """Pika's form of an amqp(s) URL; connecting takes `timeout_s` at most. `tls` is for amqps."""
    parameters = pika.URLParameters(url)
    if parameters.ssl_options:
        parameters.ssl_options = pika.SSLOptions(tls.make_context(), parameters.host)
    parameters.heartbeat = HEARTBEAT_S
    parameters.connection_attempts = 1
    parameters.socket_timeout = parameters.stack_timeout = timeout_s
    return parameters


class RabbitQueue:
    """Connects at the first call; every call ends within `timeout_s`."""

    owes_doorbells = True

    def __init__(self, url: str, timeout_s: float, tls: Tls = NO_FILES) -> None:
        self._parameters = connection_parameters(url, timeout_s, tls)
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._link: Link | None = None

    def announce(self, message: RunTask) -> None:
        self._publish(_doorbell(message))

    def announce_many(self, messages: Sequence[RunTask]) -> list[Unavailable | None]:
        return self._publish_all([_doorbell(message) for message in messages])

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
        """Until the broker confirms it."""
        for failure in self._publish_all([publication]):
            if failure is not None:
                raise failure

    def _publish_all(self, publications: Sequence[Publication]) -> list[Unavailable | None]:
        """Until the broker confirms them: what kept it from that. What came back, or met a dead connection, goes out
        once more."""
        deadline = time.monotonic() + self._timeout_s
        failures: list[Unavailable | None] = [None] * len(publications)
        left = list(range(len(publications)))
        for last_try in (False, True):
            link, is_new = self._current_link()
            met = self._try(link, [publications[index] for index in left], deadline, last_try=last_try)
            again = []
            for index, error in zip(left, met, strict=True):
                may_repeat = not last_try and (isinstance(error, Unroutable) or (isinstance(error, LinkLost)
                                                                                 and not is_new))
                if may_repeat or (isinstance(error, WaitTimeout) and not link.blocked and time.monotonic() < deadline):
                    again.append(index)
                elif error is not None:
                    failures[index] = self._unavailable(error, publications[index], link)
            if any(isinstance(error, WaitTimeout) for error in met) and again:
                self._drop(link)
            left = again
            if not left:
                break
        return failures

    def _try(self, link: Link, publications: Sequence[Publication], deadline: float, *, last_try: bool,
             ) -> list[Exception | None]:
        """What became of each; None: confirmed."""
        try:
            link.opened.result(deadline - time.monotonic())
        except (LinkLost, WaitTimeout) as error:
            return [error] * len(publications)
        if link.blocked:
            return [Refused(f"the broker takes no messages: {link.blocked}")] * len(publications)
        until = deadline
        if not last_try and time.monotonic() - link.confirmed_at >= FRESH_S:
            until -= (deadline - time.monotonic()) / 2
        return [_outcome(confirm, until) for confirm in link.publish(*publications)]

    def _unavailable(self, error: Exception, publication: Publication, link: Link) -> Unavailable:
        told = str(error)
        if isinstance(error, Unroutable):
            told = f"no queue takes {publication.routing_key}"
        elif isinstance(error, WaitTimeout):
            told = link.blocked or f"no confirm in {self._timeout_s} s"
        refused = unavailable("queue", error, told)
        refused.__cause__ = error
        return refused

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


def _doorbell(message: RunTask) -> Publication:
    return Publication(RUN_EXCHANGE, run_key(message.platform, message.priority), message.encode(),
                       platform=message.platform)


def _outcome(confirm: Future[None], until: float) -> Exception | None:
    try:
        confirm.result(max(0.0, until - time.monotonic()))
        return None
    except (LinkLost, Unroutable, Refused, WaitTimeout) as error:
        return error


def open_rabbitmq(url: str, store: Callable[[], Store], *, timeout_s: float, poll_s: float, tls: Tls) -> RabbitQueue:
    return RabbitQueue(url, timeout_s, tls)
