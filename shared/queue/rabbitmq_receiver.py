"""Receiving from RabbitMQ over one connection. On any error it raises, and the subscription makes a new one."""
from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, ConnectionWrongStateError
from pika.spec import Basic

from shared.messages import ControlTask, RunTask, decode
from shared.queue import Delivery
from shared.queue.mailbox import Mailbox, QueueName
from shared.queue.topology import (
    CONTROL_EXCHANGE,
    PRIORITIES,
    common_declarations,
    control_declarations,
    control_key,
    declare,
    platform_declarations,
    run_queue,
)

logger = logging.getLogger(__name__)

TICK_S = 0.5  # how long a silently closed channel can stay unnoticed


class ConsumingStopped(AMQPError):
    """The channel was closed, or a queue that was consumed from is gone: pika tells neither by itself."""


class Receiver:
    """Fills a mailbox. Everything but `wake` and what a delivery calls belongs to one thread.

    Doorbells are fetched one by one (`basic_get`), so that a worker never holds one that it has no room for; only when
    all the queues that it wants are empty it consumes from them, to be woken at once.

    Raises:
        AMQPError: from every method, when the connection cannot go on.
    """

    def __init__(self, connection: BlockingConnection, worker_id: str, platforms: list[str], mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._queues: list[QueueName] = [(platform, priority) for platform in platforms for priority in PRIORITIES]
        self._run_tags: dict[QueueName, str] = {}
        self._bound: set[str] = set()
        # A new name each time: the broker may take a while to see that the last connection is dead.
        self._control_queue = f"mc.control.{worker_id}.{secrets.token_hex(4)}.v1"
        self._connection = connection
        self._channel = connection.channel()
        declare(self._channel, common_declarations() + control_declarations(self._control_queue))
        for platform in platforms:
            declare(self._channel, platform_declarations(platform))
        self._control_tag = self._channel.basic_consume(self._control_queue, self._on_control)
        self._channel.basic_qos(prefetch_count=1)  # of each receiver from here on

    def wake(self) -> None:
        """Let `tick` look at the mailbox again; from any thread."""
        self._call(lambda: None)

    def tick(self) -> None:
        """Do what the mailbox wants, then wait for messages, for `wake` or for a tick's length."""
        self._check()
        self._bind()
        demand = self._mailbox.demand()
        wanted = [queue for queue in self._queues if queue[0] in demand.platforms]
        self._stop_consuming(but_from=wanted)
        for delivery in self._mailbox.take_back():
            delivery.requeue()
        if demand.more and not self._run_tags:
            self._ask(wanted)
        self._connection.process_data_events(min(TICK_S, demand.for_s))

    def flush(self) -> None:
        """Send what was acknowledged so far."""
        self._connection.process_data_events(0.05)

    def _check(self) -> None:
        expected = {self._control_tag, *self._run_tags.values()}
        if not self._channel.is_open or expected != set(self._channel.consumer_tags):
            raise ConsumingStopped("the broker closed the channel or deleted a queue")

    def _bind(self) -> None:
        watched = self._mailbox.watched()
        for task_id in watched - self._bound:
            self._channel.queue_bind(self._control_queue, CONTROL_EXCHANGE, control_key(task_id))
        for task_id in self._bound - watched:
            self._channel.queue_unbind(self._control_queue, CONTROL_EXCHANGE, control_key(task_id))
        if watched != self._bound:
            self._bound = watched
            self._mailbox.set_bound(watched)

    def _ask(self, queues: list[QueueName]) -> None:
        """Put the first doorbell there is into the mailbox; if all these queues are empty, consume from them."""
        for queue in self._mailbox.order(queues):
            while (got := self._channel.basic_get(run_queue(*queue)))[0]:
                if self._on_run(queue, self._channel, *got):
                    return
        for queue in queues:
            self._run_tags[queue] = self._channel.basic_consume(run_queue(*queue), partial(self._on_run, queue))

    def _stop_consuming(self, but_from: list[QueueName]) -> None:
        """If some of those are not consumed from yet, from all: what is pushed would always come before them."""
        kept = set(but_from) if self._run_tags.keys() >= set(but_from) else set()
        for queue in self._run_tags.keys() - kept:
            self._channel.basic_cancel(self._run_tags.pop(queue))

    def _on_run(self, queue: QueueName, channel: BlockingChannel, method: Basic.Deliver | Basic.GetOk,
                _properties: object, body: bytes) -> bool:
        """Into the mailbox, or to the dead queue (False)."""
        message = _parse(body)
        if not isinstance(message, RunTask) or message.platform != queue[0]:
            channel.basic_reject(method.delivery_tag, requeue=False)
            return False
        self._mailbox.put_run(queue, self._delivery(message, method.delivery_tag))
        return True

    def _on_control(self, channel: BlockingChannel, method: Basic.Deliver, _properties: object, body: bytes) -> None:
        message = _parse(body)
        if not isinstance(message, ControlTask):
            channel.basic_reject(method.delivery_tag, requeue=False)
            return
        channel.basic_ack(method.delivery_tag)
        self._mailbox.put_control(message)

    def _delivery(self, message: RunTask, tag: int) -> Delivery:
        settled = False

        def settle(requeue: bool) -> None:
            nonlocal settled
            if not settled:  # a second answer would close the channel
                settled = True
                self._call(partial(self._settle, tag, requeue))

        return Delivery(message, ack=partial(settle, False), requeue=partial(settle, True))

    def _settle(self, tag: int, requeue: bool) -> None:
        if not self._channel.is_open:
            return  # the broker has put the message back already
        if requeue:
            self._channel.basic_reject(tag, requeue=True)
        else:
            self._channel.basic_ack(tag)

    def _call(self, callback: Callable[[], None]) -> None:
        with suppress(ConnectionWrongStateError):
            self._connection.add_callback_threadsafe(callback)


def _parse(body: bytes) -> RunTask | ControlTask | None:
    try:
        return decode(body)
    except ValueError as error:  # if it was a doorbell of another version, its task is found in the store
        logger.warning("a message goes to the dead queue: %s", error)
        return None
