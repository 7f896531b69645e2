"""Publishes tasks' events to the exchange `mc.events.v1`, by a connection of its own: doorbells never wait for them."""
from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitTimeout

import pika

from shared.errors import Unavailable
from shared.queue import EventMessage, EventRefused
from shared.queue.rabbitmq_link import Link, LinkLost, Publication, Refused
from shared.queue.topology import EVENTS_EXCHANGE, EVENTS_TURN_QUEUE, event_key, events_declarations

# For an answer of the broker. Nobody waits for it but the thread that publishes events, and a queue on several machines
# may take a while under load.
ANSWER_S = 10.0


class RabbitEvents:
    """An `EventPublisher`. Whose turn it is the broker says: an exclusive queue belongs to one connection, and is free
    again once that has ended."""

    def __init__(self, parameters: pika.ConnectionParameters) -> None:
        self._parameters = parameters
        self._link: Link | None = None
        self._my_turn = False

    def take_turn(self) -> bool:
        try:
            link = self._open()
            if not self._my_turn:
                self._my_turn = link.hold(EVENTS_TURN_QUEUE).result(ANSWER_S)
            return self._my_turn
        except (LinkLost, WaitTimeout) as error:
            self.close()
            raise Unavailable("queue", str(error) or f"no answer in {ANSWER_S} s") from error

    def publish(self, messages: Sequence[EventMessage]) -> list[Unavailable | None]:
        link = self._link
        if link is None:
            return [Unavailable("queue", "the link has ended")] * len(messages)
        if link.blocked:
            return [Unavailable("queue", f"the broker takes no messages: {link.blocked}")] * len(messages)
        confirms = link.publish(*(Publication(
            EVENTS_EXCHANGE, event_key(message.type), message.body, persistent=True, content_type=message.content_type,
            message_id=message.id) for message in messages))
        deadline = time.monotonic() + ANSWER_S
        return [self._await(confirm, deadline) for confirm in confirms]

    def close(self) -> None:
        link, self._link, self._my_turn = self._link, None, False
        if link:
            link.close()

    def _open(self) -> Link:
        if self._link is None or self._link.lost:
            self._link, self._my_turn = Link(self._parameters, events_declarations()), False
        self._link.opened.result(ANSWER_S)
        return self._link

    def _await(self, confirm: Future[None], deadline: float) -> Unavailable | None:
        try:
            confirm.result(max(0.0, deadline - time.monotonic()))
            return None
        except Refused:
            return EventRefused("queue", "a queue that is bound to the events has refused one")
        except LinkLost as error:
            return Unavailable("queue", str(error))
        except WaitTimeout:
            return Unavailable("queue", f"no confirm in {ANSWER_S} s")
