"""A publishing connection to RabbitMQ, and the thread that owns it.

Pika's blocking connection cannot bound the wait for a confirm: a broker that is frozen holds its caller until the
heartbeat gives up. Here callers wait on futures, as long as they like, and one connection carries all of them: their
confirms overlap, heartbeats are answered while nobody publishes, and a connection that the broker closed is known as
lost before the next call.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.exceptions import AMQPError, ChannelClosedByBroker

from shared.queue.topology import Declaration, common_declarations, declare, platform_declarations

logger = logging.getLogger(__name__)

TRANSIENT, PERSISTENT = 1, 2  # AMQP's delivery modes
RESOURCE_LOCKED = 405  # AMQP's reply code: another connection has the exclusive queue


class LinkLost(Exception):
    """The connection is gone; what was not confirmed may have been stored."""


class Unroutable(Exception):
    """A mandatory message came back: its queue or binding is gone."""


class Refused(Exception):
    """The broker answered with a nack (a full queue, or a quorum queue without its quorum)."""


@dataclass(frozen=True)
class Publication:
    """A message on its way. With a `platform` it must reach that target's queue, which is declared if need be, and
    survives the broker's restart; others do if they are `persistent`."""

    exchange: str
    routing_key: str
    body: bytes
    platform: str | None = None
    persistent: bool = False
    content_type: str = "application/json"
    message_id: str | None = None


class Link:
    """One connection with one confirming channel, on which `declarations` are made; it ends for good when either does.

    `opened` resolves when it can be used, or fails with `LinkLost`. `blocked` is the broker's reason for not reading
    what is published (an alarm), or empty.
    """

    def __init__(self, parameters: pika.ConnectionParameters, declarations: list[Declaration] | None = None) -> None:
        self._declarations = common_declarations() if declarations is None else declarations
        self.opened: Future[None] = Future()
        self.blocked = ""
        self.confirmed_at = time.monotonic()
        self._ioloop = IOLoop()
        self._lock = threading.Lock()
        self._lost: LinkLost | None = None
        self._pending: set[Future[Any]] = set()
        self._tags: dict[int, Future[None]] = {}
        self._returned: set[int] = set()
        self._next_tag = 1
        self._declared: set[str] = set()
        threading.Thread(target=self._run, args=(parameters,), name="rabbitmq-publisher", daemon=True).start()

    # --- from any thread --------------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        return self._lost is not None

    def publish(self, *publications: Publication) -> list[Future[None]]:
        """Each resolves with the broker's confirm; it fails with `LinkLost`, `Unroutable` or `Refused`. Only once
        opened."""
        futures: list[Future[None]] = [Future() for _ in publications]
        if not self._submit(partial(self._publish_all, publications, futures), *futures):
            for future in futures:
                future.set_exception(self._lost)
        return futures

    def hold(self, queue: str) -> Future[bool]:
        """Whether this connection has the exclusive queue of this name, from now until it ends; False: another one has
        it. Fails with `LinkLost`. Only once opened."""
        future: Future[bool] = Future()
        if not self._submit(partial(self._hold, queue, future), future):
            future.set_exception(self._lost)
        return future

    def close(self) -> None:
        """Close politely, without waiting; what is still unconfirmed fails."""
        self.opened.add_done_callback(lambda opened: opened.exception() or self._submit(self._close))

    def _submit(self, callback: Callable[[], None], *futures: Future[Any]) -> bool:
        """Let the owning thread call `callback`, unless the link is lost."""
        with self._lock:
            if self._lost:
                return False
            self._pending.update(futures)
            self._ioloop.add_callback_threadsafe(callback)
            return True

    # --- on the owning thread ---------------------------------------------------------------------------------------

    def _run(self, parameters: pika.ConnectionParameters) -> None:
        try:
            self._connection = pika.SelectConnection(
                parameters, on_open_callback=self._on_open, on_open_error_callback=self._on_closed,
                on_close_callback=self._on_closed, custom_ioloop=self._ioloop)
            self._ioloop.start()
        except (AMQPError, OSError) as error:
            self._lose(error)
        finally:
            self._lose(LinkLost("its thread ended"))  # no caller may wait for a thread that is gone
            self._ioloop.close()

    def _on_open(self, connection: pika.SelectConnection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: pika.channel.Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_returned)
        channel.confirm_delivery(self._on_confirm)
        declare(channel, self._declarations)
        self.opened.set_result(None)

    def _publish_all(self, publications: Sequence[Publication], futures: Sequence[Future[None]]) -> None:
        for publication, future in zip(publications, futures, strict=True):
            self._publish(publication, future)

    def _publish(self, publication: Publication, future: Future[None]) -> None:
        if not self._channel.is_open:
            return  # its closing is on the way and fails the future
        platform = publication.platform
        if platform and platform not in self._declared:
            declare(self._channel, platform_declarations(platform))
            self._declared.add(platform)
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._tags[tag] = future
        properties = pika.BasicProperties(
            content_type=publication.content_type, message_id=publication.message_id, correlation_id=str(tag),
            delivery_mode=PERSISTENT if platform or publication.persistent else TRANSIENT)
        self._channel.basic_publish(publication.exchange, publication.routing_key, publication.body, properties,
                                    mandatory=platform is not None)

    def _hold(self, queue: str, future: Future[bool]) -> None:
        """On a channel of its own: the broker closes the channel of whoever comes second."""
        def settle(reason: Exception | None) -> None:
            with self._lock:
                self._pending.discard(future)
            if future.done():
                return
            if reason is None or (isinstance(reason, ChannelClosedByBroker) and reason.reply_code == RESOURCE_LOCKED):
                future.set_result(reason is None)
            else:
                future.set_exception(LinkLost(repr(reason)))

        def ask(channel: pika.channel.Channel) -> None:
            channel.add_on_close_callback(lambda _channel, reason: settle(reason))
            channel.queue_declare(queue, exclusive=True, callback=lambda _frame: settle(None))

        if self._connection.is_open:  # else its closing is on the way and fails the future
            self._connection.channel(on_open_callback=ask)

    def _on_returned(self, _channel: object, _method: object, properties: pika.BasicProperties, _body: bytes) -> None:
        """Comes before the confirm of the same message."""
        self._returned.add(int(properties.correlation_id))
        self._declared.clear()

    def _on_confirm(self, frame: pika.frame.Method) -> None:
        self.confirmed_at = time.monotonic()
        last = frame.method.delivery_tag
        for tag in [tag for tag in self._tags if tag <= last] if frame.method.multiple else [last]:
            future = self._tags.pop(tag)
            with self._lock:
                self._pending.discard(future)
            if tag in self._returned:
                self._returned.discard(tag)
                future.set_exception(Unroutable())
            elif isinstance(frame.method, pika.spec.Basic.Nack):
                future.set_exception(Refused("nack"))
            else:
                future.set_result(None)

    def _on_blocked(self, _connection: object, frame: pika.frame.Method) -> None:
        self.blocked = frame.method.reason or "blocked"
        logger.warning("the broker does not take messages: %s", self.blocked)

    def _on_unblocked(self, _connection: object, _frame: pika.frame.Method) -> None:
        self.blocked = ""

    def _on_channel_closed(self, _channel: object, reason: Exception) -> None:
        self._lose(reason)
        self._close()

    def _close(self) -> None:
        if self._connection.is_open:
            self._connection.close()

    def _on_closed(self, _connection: object, reason: BaseException) -> None:
        self._lose(reason)
        self._ioloop.stop()

    def _lose(self, reason: BaseException) -> None:
        with self._lock:
            self._lost = self._lost or LinkLost(repr(reason))
            pending, self._pending = self._pending, set()
        if not self.opened.done():
            self.opened.set_exception(self._lost)
        for future in pending:
            future.set_exception(self._lost)
