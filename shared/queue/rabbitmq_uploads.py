"""Events of object stores at RabbitMQ: a thread of its own takes each of them, and acknowledges it after that."""
from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy

import pika
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import AMQPError, ConnectionWrongStateError
from pika.spec import Basic

from shared.errors import Busy, Unavailable
from shared.queue.reconnecting import keep_consuming
from shared.queue.topology import UPLOADS_QUEUE, declare, uploads_declarations

logger = logging.getLogger(__name__)

TICK_S = 0.5  # how long a silently closed channel can stay unnoticed
PREFETCH = 4  # events in hand; the others are for other workers
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 15.0
HEARTBEAT_S = 60  # none is answered while an event is taken, which has seconds
CLOSE_S = 20.0  # the longest that one event may hold the thread


class Stopped(AMQPError):
    """The channel was closed, or the queue is gone: pika tells neither by itself."""


class RabbitUploads:
    """Calls `take` with the body of one event after the other, in a thread of its own.

    An event whose `take` raises `Unavailable` or `Busy` goes back to the queue with all that are in hand, and the next
    one is fetched after a pause: nothing is lost, and other workers may have them meanwhile. Any other error is a fault
    of ours that the next try would meet again: it is logged, and the sweep finds the object.
    """

    def __init__(self, parameters: pika.ConnectionParameters, take: Callable[[bytes], None]) -> None:
        self._parameters = copy(parameters)
        self._parameters.heartbeat = HEARTBEAT_S
        self._take = take
        self._closed = threading.Event()
        self._connection: BlockingConnection | None = None
        self._pause_s = FIRST_PAUSE_S
        self._thread = threading.Thread(target=keep_consuming, args=(self._consume, self._closed), name="uploads",
                                        daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish the event under way; the others in hand go back."""
        self._closed.set()
        connection = self._connection
        if connection:
            with suppress(ConnectionWrongStateError):
                connection.add_callback_threadsafe(lambda: None)  # let the wait for messages end
        self._thread.join(CLOSE_S)

    def _consume(self) -> None:
        with pika.BlockingConnection(self._parameters) as connection:
            self._connection = connection
            channel = connection.channel()
            declare(channel, uploads_declarations())
            channel.basic_qos(prefetch_count=PREFETCH)
            while not self._closed.is_set():
                if not self._take_while_possible(connection, channel):
                    self._rest(connection)

    def _take_while_possible(self, connection: BlockingConnection, channel: BlockingChannel) -> bool:
        """Whether it ended by `close`; else an event has to be tried again. All in hand are back in the queue then."""
        in_hand: deque[tuple[int, bytes]] = deque()

        def put(_channel: BlockingChannel, method: Basic.Deliver, _properties: object, body: bytes) -> None:
            in_hand.append((method.delivery_tag, body))

        consumer = channel.basic_consume(UPLOADS_QUEUE, put)
        again = False
        while not (again or self._closed.is_set()):
            if not channel.is_open or consumer not in channel.consumer_tags:
                raise Stopped("the broker closed the channel or deleted the queue")
            connection.process_data_events(0 if in_hand else TICK_S)
            if in_hand:
                again = not self._settle(channel, *in_hand[0])
                if not again:
                    in_hand.popleft()
        channel.basic_cancel(consumer)  # its answer comes after all that was still under way to us
        for tag, _ in in_hand:
            channel.basic_nack(tag, requeue=True)
        return not again

    def _settle(self, channel: BlockingChannel, tag: int, body: bytes) -> bool:
        """Take an event and acknowledge it; False where it has to be tried again."""
        try:
            self._take(body)
        except (Unavailable, Busy) as error:
            logger.warning("an event of an upload goes back to the queue: %s", error)
            return False
        except Exception:
            logger.exception("an event of an upload failed")
        self._pause_s = FIRST_PAUSE_S
        channel.basic_ack(tag)
        return True

    def _rest(self, connection: BlockingConnection) -> None:
        """A pause in which the connection stays alive."""
        until = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
        while not self._closed.is_set() and (left_s := until - time.monotonic()) > 0:
            connection.process_data_events(min(TICK_S, left_s))
