"""Object stores' events over RabbitMQ: each is taken, however often store or broker are away meanwhile."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pika
import pytest
from pika.exceptions import AMQPError

from shared.deps import get_store
from shared.errors import Busy, Unavailable
from shared.queue import rabbitmq_uploads
from shared.queue.polling import PollingQueue
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.rabbitmq_uploads import RabbitUploads
from shared.queue.topology import UPLOADS_EXCHANGE, UPLOADS_QUEUE, declare, uploads_declarations
from tests.fixtures.rabbitmq import PrivateBroker

SOON_S = 120.0


class Taken:
    """What an intake was given, in order; `fails` decides which are to come again."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.tries: list[bytes] = []
        self.fails: Callable[[bytes], Exception | None] = lambda body: None

    def __call__(self, body: bytes) -> None:
        self.tries.append(body)
        if error := self.fails(body):
            raise error
        self.bodies.append(body)

    def wait(self, count: int) -> list[bytes]:
        wait(lambda: len(self.bodies) >= count)
        return sorted(self.bodies)


def wait(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.02)


def publish(url: str, *bodies: bytes) -> None:
    """As MinIO does: the exchange is declared again, a persistent message, confirmed."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.exchange_declare(UPLOADS_EXCHANGE, "fanout", durable=True, auto_delete=False, internal=False)
        for body in bodies:
            channel.basic_publish(UPLOADS_EXCHANGE, "", body, pika.BasicProperties(delivery_mode=2), mandatory=True)


def waiting(url: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        return connection.channel().queue_declare(UPLOADS_QUEUE, passive=True).method.message_count


def set_up(url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        declare(connection.channel(), uploads_declarations())


@pytest.fixture
def intake() -> Iterator[Callable[..., RabbitUploads]]:
    with ExitStack() as stack:
        def intake(url: str, take: Callable[[bytes], None]) -> RabbitUploads:
            uploads = RabbitQueue(url, 1.5).receive_uploads(take)
            stack.callback(uploads.close)
            return uploads
        yield intake


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_uploads, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(rabbitmq_uploads, "LAST_PAUSE_S", 0.1)


Open = Callable[..., RabbitUploads]


def test_each_event_is_taken_once_and_then_gone(amqp_url: str, intake: Open) -> None:
    set_up(amqp_url)
    publish(amqp_url, b"before")
    taken = Taken()
    uploads = intake(amqp_url, taken)
    publish(amqp_url, *(b"%d" % number for number in range(20)))
    assert taken.wait(21) == sorted([b"before", *(b"%d" % number for number in range(20))])
    uploads.close()
    assert waiting(amqp_url) == 0 and len(taken.tries) == 21


def test_an_event_comes_again_as_often_as_it_takes_and_the_others_too(amqp_url: str, intake: Open) -> None:
    """More often than RabbitMQ 4 delivers a message of a quorum queue by default."""
    set_up(amqp_url)
    publish(amqp_url, b"a", b"b", b"c")
    taken = Taken()
    taken.fails = lambda body: (Unavailable("store") if len(taken.tries) % 2 else Busy("", "", 1)) if (
        len(taken.tries) < 30) else None
    uploads = intake(amqp_url, taken)
    assert taken.wait(3) == [b"a", b"b", b"c"] and len(taken.tries) >= 30
    uploads.close()
    assert waiting(amqp_url) == 0


def test_an_event_that_no_try_can_take_does_not_come_again(amqp_url: str, intake: Open) -> None:
    set_up(amqp_url)
    taken = Taken()
    taken.fails = lambda body: ZeroDivisionError() if body == b"bad" else None
    uploads = intake(amqp_url, taken)
    publish(amqp_url, b"bad", b"good")
    assert taken.wait(1) == [b"good"]
    uploads.close()
    assert taken.tries == [b"bad", b"good"] and waiting(amqp_url) == 0


def test_what_one_worker_cannot_take_another_one_does(amqp_url: str, intake: Open) -> None:
    set_up(amqp_url)
    broken, whole = Taken(), Taken()
    broken.fails = lambda body: Unavailable("files")
    intake(amqp_url, broken)
    publish(amqp_url, *(b"%d" % number for number in range(5)))
    wait(lambda: broken.tries)
    intake(amqp_url, whole)
    assert len(whole.wait(5)) == 5 and broken.bodies == []


def test_an_event_under_way_at_the_end_is_finished_and_the_next_ones_are_left(amqp_url: str, intake: Open) -> None:
    set_up(amqp_url)
    publish(amqp_url, b"1", b"2", b"3")
    begun, go_on, taken = threading.Event(), threading.Event(), []

    def slowly(body: bytes) -> None:
        begun.set()
        assert go_on.wait(SOON_S)
        taken.append(body)

    uploads = intake(amqp_url, slowly)
    assert begun.wait(SOON_S)
    closing = threading.Thread(target=uploads.close)
    closing.start()
    wait(uploads._closed.is_set)
    go_on.set()
    closing.join(SOON_S)
    assert taken == [b"1"]
    wait(lambda: waiting(amqp_url) == 2)


def test_an_event_whose_worker_dies_comes_to_another(amqp_url: str, intake: Open) -> None:
    """The connection ends after `take` and before the acknowledgement: taken twice, which makes one task."""
    set_up(amqp_url)
    taken, dying = Taken(), threading.Event()

    def die(body: bytes) -> None:
        taken.tries.append(body)
        if not dying.is_set():
            dying.set()
            uploads._connection._impl._transport.abort()  # as a killed process's socket ends

    uploads = intake(amqp_url, die)
    publish(amqp_url, b"x")
    wait(lambda: taken.tries == [b"x", b"x"])


def test_a_deleted_queue_is_made_again(amqp_url: str, intake: Open) -> None:
    taken = Taken()
    set_up(amqp_url)
    intake(amqp_url, taken)
    publish(amqp_url, b"1")
    taken.wait(1)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().queue_delete(UPLOADS_QUEUE)

    def published() -> bool:
        try:
            publish(amqp_url, b"2")
        except AMQPError:
            return False
        return True
    wait(published)
    assert taken.wait(2) == [b"1", b"2"]


def test_events_that_wait_in_a_broker_that_is_killed_are_taken_once_it_is_back(private_broker: PrivateBroker,
                                                                               intake: Open) -> None:
    set_up(private_broker.url)
    private_broker.server.stop()  # 3.10 never serves a quorum queue again that it was killed within seconds after
    private_broker.start()
    publish(private_broker.url, b"1", b"2")
    private_broker.server.kill()
    taken = Taken()
    intake(private_broker.url, taken)
    private_broker.start()
    assert set(taken.wait(2)) == {b"1", b"2"}
    publish(private_broker.url, b"3")
    wait(lambda: b"3" in taken.bodies)


def test_a_queue_without_a_broker_has_no_intake() -> None:
    assert PollingQueue(get_store, 0.05).receive_uploads(lambda body: None) is None
