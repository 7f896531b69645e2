"""Tasks' events at RabbitMQ: durable for whoever has bound a queue, published by one process at a time."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from infra.servers.rabbitmq import rabbitmqctl
from shared.announcements.cloud_events import to_cloud_event
from shared.deps import get_store
from shared.documents import StoredEvent
from shared.errors import Unavailable
from shared.queue import EventMessage, EventRefused, rabbitmq_events
from shared.queue.polling import PollingQueue
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.rabbitmq_events import RabbitEvents
from shared.queue.topology import EVENTS_EXCHANGE
from tests.contract.rabbitmq_kit import ROOT, doorbell, get_soon
from tests.contract.store_model import make_task
from tests.fixtures.rabbitmq import PrivateBroker, SharedNode

pytest_plugins = ["tests.contract.rabbitmq_queue"]

SOON_S = 120.0
Open = Callable[[str], RabbitEvents]


@pytest.fixture
def publisher() -> Iterator[Open]:
    with ExitStack() as stack:
        def publisher(url: str) -> RabbitEvents:
            events = RabbitQueue(url, 3.0).publish_events()
            stack.callback(events.close)
            return events
        yield publisher


def message(number: int, event_type: str = "created") -> EventMessage:
    return EventMessage(event_type, f"t/{number}", b"%d" % number, "application/cloudevents+json; charset=utf-8")


def wait(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.1)


def takes_turn(events: RabbitEvents) -> bool:
    try:
        return events.take_turn()
    except Unavailable:
        return False


def listen(channel: BlockingChannel, key: str = "task.#", **arguments: object) -> str:
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    channel.queue_bind(queue, EVENTS_EXCHANGE, key)
    return queue


def test_who_binds_a_queue_gets_the_types_that_it_asks_for(amqp_url: str, publisher: Open,
                                                           channel: BlockingChannel) -> None:
    events = publisher(amqp_url)
    assert events.take_turn()
    everything, ends = listen(channel), listen(channel, "task.completed")
    assert events.publish([message(1), message(2, "completed"), message(3)]) == [None] * 3
    assert [get_soon(channel, everything) for _ in range(3)] == [b"1", b"2", b"3"]
    method, properties, body = channel.basic_get(ends, auto_ack=True)
    assert (method.exchange, method.routing_key, body) == ("mc.events.v1", "task.completed", b"2")
    assert (properties.content_type, properties.message_id, properties.delivery_mode) == (
        "application/cloudevents+json; charset=utf-8", "t/2", 2)
    assert channel.queue_declare(ends, passive=True).method.message_count == 0


def test_the_exchange_is_a_durable_topic_and_nobody_has_to_listen(amqp_url: str, publisher: Open,
                                                                  listing: Callable[..., list[dict]]) -> None:
    events = publisher(amqp_url)
    assert events.take_turn() and events.publish([message(1)]) == [None]
    rows = {row["name"]: (row["type"], row["durable"]) for row in listing("exchanges", "name", "type", "durable")}
    assert rows["mc.events.v1"] == ("topic", True)


def test_a_listener_that_declares_the_exchange_first_meets_no_other(amqp_url: str, publisher: Open,
                                                                    channel: BlockingChannel) -> None:
    channel.exchange_declare("mc.events.v1", "topic", durable=True)
    queue = listen(channel)
    events = publisher(amqp_url)
    assert events.take_turn() and events.publish([message(1)]) == [None]
    assert get_soon(channel, queue) == b"1"


def test_one_publishes_at_a_time_and_the_next_one_when_it_ends(amqp_url: str, publisher: Open) -> None:
    first, second = publisher(amqp_url), publisher(amqp_url)
    assert first.take_turn() and not second.take_turn()
    assert first.take_turn() and not second.take_turn()
    first.close()
    wait(second.take_turn)
    assert not first.take_turn()


def test_the_turn_goes_on_when_the_broker_loses_the_link(amqp_url: str, publisher: Open,
                                                         rabbitmq_server: SharedNode) -> None:
    first, second = publisher(amqp_url), publisher(amqp_url)
    assert first.take_turn() and not second.take_turn()
    rabbitmqctl(rabbitmq_server, "close_all_connections", "--vhost", amqp_url.rpartition("/")[2], "test")
    wait(lambda: takes_turn(second))
    assert not first.take_turn()


def test_an_exchange_of_other_arguments_is_told_and_holds_up_no_doorbell(amqp_url: str, publisher: Open,
                                                                         channel: BlockingChannel) -> None:
    channel.exchange_declare(EVENTS_EXCHANGE, "fanout")
    events = publisher(amqp_url)
    problems: list[str] = []

    def told() -> bool:
        """By whichever of the two calls meets it: the broker's word may come between them."""
        try:
            events.take_turn()
            problems.extend(str(problem) for problem in events.publish([message(1)]))
        except Unavailable as error:
            problems.append(str(error))
        return any("PRECONDITION_FAILED" in problem for problem in problems)

    wait(told)
    assert "None" not in problems
    with closing(RabbitQueue(amqp_url, 30.0)) as queue:
        queue.announce(doorbell("t1"))
    channel.exchange_delete(EVENTS_EXCHANGE)
    wait(lambda: takes_turn(events) and events.publish([message(1)]) == [None])


def test_a_deleted_exchange_is_made_again(amqp_url: str, publisher: Open, channel: BlockingChannel) -> None:
    events = publisher(amqp_url)
    assert events.take_turn()
    channel.exchange_delete(EVENTS_EXCHANGE)
    assert isinstance(events.publish([message(1)])[0], Unavailable)
    wait(lambda: takes_turn(events))
    queue = listen(channel)
    assert events.publish([message(1)]) == [None]
    assert get_soon(channel, queue) == b"1"


def test_a_queue_that_refuses_is_told_of_its_messages_only(amqp_url: str, publisher: Open,
                                                           channel: BlockingChannel) -> None:
    events = publisher(amqp_url)
    assert events.take_turn()
    listen(channel, "task.completed", **{"x-max-length": 1, "x-overflow": "reject-publish"})
    problems = events.publish([message(1, "completed"), message(2), message(3, "completed"), message(4)])
    assert [type(problem) for problem in problems] == [type(None), type(None), EventRefused, type(None)]


def test_without_a_broker_nothing_is_published(publisher: Open) -> None:
    events = publisher("amqp://guest:guest@127.0.0.1:9/")
    with pytest.raises(Unavailable):
        events.take_turn()
    assert isinstance(events.publish([message(1)])[0], Unavailable)


def test_what_a_killed_broker_has_confirmed_is_there_when_it_is_back(private_broker: PrivateBroker,
                                                                     publisher: Open) -> None:
    events = publisher(private_broker.url)
    assert events.take_turn()
    with pika.BlockingConnection(pika.URLParameters(private_broker.url)) as connection:
        connection.channel().queue_declare("listener", durable=True)
        connection.channel().queue_bind("listener", EVENTS_EXCHANGE, "task.*")
    assert events.publish([message(number) for number in range(50)]) == [None] * 50
    private_broker.server.kill()
    assert all(events.publish([message(50)]))
    private_broker.start()
    wait(lambda: takes_turn(events))
    assert events.publish([message(51)]) == [None]
    with pika.BlockingConnection(pika.URLParameters(private_broker.url)) as connection:
        channel = connection.channel()
        assert [get_soon(channel, "listener") for _ in range(51)] == [b"%d" % number for number in [*range(50), 51]]


def test_a_frozen_broker_confirms_nothing(private_broker: PrivateBroker, publisher: Open,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    events, late = publisher(private_broker.url), publisher(private_broker.url)
    assert events.take_turn()
    private_broker.signal(signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(rabbitmq_events, "ANSWER_S", 1.0)
        assert all(events.publish([message(1), message(2)]))
        with pytest.raises(Unavailable):
            late.take_turn()
    private_broker.signal(signal.SIGCONT)
    events.close()
    wait(lambda: takes_turn(late))
    assert late.publish([message(1)]) == [None]


def test_under_an_alarm_nothing_is_published_and_the_reason_is_told(private_broker: PrivateBroker,
                                                                    publisher: Open,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    events = publisher(private_broker.url)
    assert events.take_turn() and events.publish([message(1)]) == [None]
    private_broker.control("set_vm_memory_high_watermark", "0.0001")
    with monkeypatch.context() as patch:
        patch.setattr(rabbitmq_events, "ANSWER_S", 1.0)
        problems = [events.publish([message(2)])[0] for _ in range(2)]  # the first may find the alarm, the second knows
    assert all(problems) and "memory" in str(problems[1])
    private_broker.control("set_vm_memory_high_watermark", "0.4")
    wait(lambda: takes_turn(events) and events.publish([message(3)]) == [None])


def test_a_queue_without_a_broker_publishes_no_events() -> None:
    assert PollingQueue(get_store, 0.05).publish_events() is None


def test_the_listener_that_the_page_shows_gets_the_ends_of_tasks(amqp_url: str, publisher: Open) -> None:
    page = (ROOT / "docs" / "announcements.md").read_text()
    code = page.partition("### A listener")[2].partition("```python\n")[2].partition("```")[0]
    events = publisher(amqp_url)
    assert events.take_turn()
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"AMQP_URL": amqp_url}, text=True,
                          stdout=subprocess.PIPE) as listener:
        task = make_task()
        end = to_cloud_event(task, StoredEvent(type="completed", at=1.0, seq=2))
        with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
            wait(lambda: consumers(connection, "our-results") == 1)
        assert events.publish([message(1), end]) == [None, None]
        assert listener.stdout.readline() == f"task.completed {task.id} {task.output_path}\n"
        listener.terminate()


def consumers(connection: pika.BlockingConnection, queue: str) -> int:
    channel = connection.channel()
    try:
        return channel.queue_declare(queue, passive=True).method.consumer_count
    except ChannelClosedByBroker:
        return 0
