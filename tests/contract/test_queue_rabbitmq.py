"""What only RabbitMQ can do wrong while it is up: topology, what is routed where, closed channels, deleted queues."""
from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from infra.servers.rabbitmq import rabbitmqctl
from shared.errors import Unavailable
from shared.messages import ControlTask
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.topology import DELIVERY_LIMIT
from tests.contract.rabbitmq_kit import RUN_QUEUE, SOON_S, Subscribe, doorbell, get_soon, idle, receive
from tests.fixtures.rabbitmq import SharedNode
from tests.fixtures.targets import EVERY, NONE

pytest_plugins = ["tests.contract.rabbitmq_queue"]


def test_the_topology_is_exactly_what_the_design_names(queue: RabbitQueue, subscribe: Subscribe,
                                                       listing: Callable[..., list[dict]]) -> None:
    queue.announce(doorbell("t1"))
    receive(subscribe("worker-7")).ack()
    watcher = subscribe("worker-7")
    idle(watcher)
    for task_id in ("t8", "t9"):
        watcher.watch(task_id)
    watcher.unwatch("t8")
    idle(watcher)
    rows = listing("queues", "name", "durable", "exclusive", "auto_delete", "arguments")
    queues = {row["name"]: row for row in rows}
    control = [row for name, row in queues.items() if name.startswith("mc.control.worker-7.")]
    assert len(control) == 2 and all(row["exclusive"] and row["auto_delete"] and not row["durable"] for row in control)
    run_arguments = {
        "x-queue-type": "quorum", "x-delivery-limit": 20, "x-overflow": "reject-publish",
        "x-dead-letter-strategy": "at-least-once", "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "mc.dead.v1"}
    for priority in ("high", "normal", "low"):
        row = queues[f"mc.run.intel.{priority}.v1"]
        assert row["durable"] and {key: value for key, _, value in row["arguments"]} == run_arguments
    assert queues["mc.dead.v1"]["durable"] and len(queues) == 6
    exchanges = {row["name"]: (row["type"], row["durable"]) for row in listing("exchanges", "name", "type", "durable")}
    assert exchanges["mc.run.v1"] == ("direct", True)
    assert exchanges["mc.control.v1"] == ("topic", True)
    assert {name for name in exchanges if name.startswith("mc.")} == {"mc.run.v1", "mc.control.v1"}
    bindings = {(row["source_name"], row["routing_key"], row["destination_name"].split(".")[1])
                for row in listing("bindings", "source_name", "routing_key", "destination_name") if row["source_name"]}
    assert bindings == {("mc.run.v1", f"intel.{p}", "run") for p in ("high", "normal", "low")} | {
        ("mc.control.v1", "task.t9", "control")}


def test_doorbells_are_persistent_and_control_messages_are_not(queue: RabbitQueue, channel: BlockingChannel) -> None:
    queue.announce(doorbell("t1"))
    _, properties, _ = channel.basic_get(RUN_QUEUE, auto_ack=True)
    assert properties.delivery_mode == 2
    listener = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(listener, "mc.control.v1", "task.t1")
    queue.control(ControlTask(task_id="t1", epoch=0))
    _, properties, body = channel.basic_get(listener, auto_ack=True)
    assert properties.delivery_mode == 1 and json.loads(body)["task_id"] == "t1"


def test_a_deleted_queue_is_declared_again_and_the_doorbell_is_not_lost(queue: RabbitQueue, subscribe: Subscribe,
                                                                       channel: BlockingChannel) -> None:
    queue.announce(doorbell("t1"))
    channel.queue_delete(RUN_QUEUE)
    queue.announce(doorbell("t2"))
    assert receive(subscribe()).message.task_id == "t2"


def test_a_deleted_binding_is_made_again_and_the_doorbell_is_not_lost(queue: RabbitQueue, subscribe: Subscribe,
                                                                     channel: BlockingChannel) -> None:
    queue.announce(doorbell("t1"))
    channel.queue_unbind(RUN_QUEUE, "mc.run.v1", "intel.normal")
    queue.announce(doorbell("t2"))
    subscription = subscribe()
    assert [receive(subscription).message.task_id for _ in range(2)] == ["t1", "t2"]


def test_many_doorbells_are_confirmed_together_and_none_is_lost_with_a_deleted_queue(
        queue: RabbitQueue, channel: BlockingChannel) -> None:
    queue.announce(doorbell("t0"))
    channel.queue_delete(RUN_QUEUE)
    queues = [("intel", "normal"), ("intel", "low"), ("rockchip", "normal")] * 10
    messages = [doorbell(f"t{number}", priority, platform) for number, (platform, priority) in enumerate(queues)]
    assert queue.announce_many(messages) == [None] * 30 and queue.announce_many([]) == []
    assert [channel.queue_declare(f"mc.run.{name}.v1", passive=True).method.message_count
            for name in ("intel.normal", "intel.low", "rockchip.normal")] == [10, 10, 10]


@pytest.mark.parametrize("exchange", ["mc.run.v1", "mc.control.v1"])
def test_a_deleted_exchange_is_made_again_by_the_next_message(queue: RabbitQueue, channel: BlockingChannel,
                                                              exchange: str) -> None:
    queue.announce(doorbell("t1"))
    channel.exchange_delete(exchange)
    queue.control(ControlTask(task_id="t2", epoch=0))
    queue.announce(doorbell("t2"))
    channel.exchange_declare(exchange, passive=True)
    assert channel.queue_declare(RUN_QUEUE, passive=True).method.message_count == 2


def test_a_queue_of_other_arguments_is_told_and_nothing_hangs(queue: RabbitQueue, channel: BlockingChannel) -> None:
    channel.queue_declare(RUN_QUEUE, durable=True)
    started = time.monotonic()
    with pytest.raises(Unavailable, match="PRECONDITION_FAILED"):
        queue.announce(doorbell("t1"))
    assert time.monotonic() - started < 20  # less than the queue's time-out
    queue.announce(doorbell("t2", platform="rockchip"))


def test_a_consumer_whose_queue_was_deleted_consumes_again(queue: RabbitQueue, subscribe: Subscribe,
                                                           channel: BlockingChannel) -> None:
    subscription = subscribe()
    idle(subscription)
    channel.queue_delete(RUN_QUEUE)
    time.sleep(1.0)
    queue.announce(doorbell("t1"))
    assert receive(subscription).message.task_id == "t1"


def test_a_worker_whose_control_queue_was_deleted_hears_control_messages_again(
        queue: RabbitQueue, subscribe: Subscribe, channel: BlockingChannel, rabbitmq_server: SharedNode,
        amqp_url: str, listing: Callable[..., list[dict]]) -> None:
    subscription = subscribe("w1")
    idle(subscription)
    subscription.watch("t1")
    name = next(row["name"] for row in listing("queues", "name") if row["name"].startswith("mc.control."))
    rabbitmqctl(rabbitmq_server, "delete_queue", "-p", amqp_url.rpartition("/")[2], name)
    deadline, heard = time.monotonic() + SOON_S, None
    while heard is None:  # what is sent before it listens again is lost
        assert time.monotonic() < deadline
        queue.control(ControlTask(task_id="t1", epoch=0))
        heard = subscription.receive(platforms=NONE, timeout_s=1.0)
    assert heard.message.task_id == "t1"


def test_to_watch_soon_is_to_watch_a_moment_later_and_to_unwatch_ends_it(
        queue: RabbitQueue, subscribe: Subscribe, listing: Callable[..., list[dict]]) -> None:
    def bound() -> set[str]:
        return {row["routing_key"] for row in listing("bindings", "routing_key") if row["routing_key"] != ""}

    subscription = subscribe("w1")
    idle(subscription)
    subscription.watch_soon("t1")
    subscription.watch("t1")
    assert "task.t1" in bound()
    assert subscription.watch("t1") and not subscription.watch("t3")  # whether it was so before
    subscription.unwatch("t3")
    queue.control(ControlTask(task_id="t1", epoch=4))
    assert subscription.receive(platforms=NONE, timeout_s=SOON_S).message.epoch == 4
    subscription.watch_soon("t2")
    subscription.unwatch("t2")
    subscription.unwatch("t1")
    deadline = time.monotonic() + SOON_S
    while bound() & {"task.t1", "task.t2", "task.t3"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("consuming", [False, True], ids=["fetched", "consumed"])
@pytest.mark.parametrize("body", [b"", b"garbage", doorbell("x", platform="huawei").encode(),
                                  ControlTask(task_id="x", epoch=0).encode(), b"[" * 100_000],
                         ids=["empty", "garbage", "of another target", "of another kind", "nested"])
def test_what_is_no_doorbell_goes_to_the_dead_queue_and_the_next_one_comes(
        queue: RabbitQueue, subscribe: Subscribe, channel: BlockingChannel, body: bytes, consuming: bool) -> None:
    subscription = subscribe()
    if consuming:
        idle(subscription)
    else:
        queue.announce(doorbell("t0"))
        receive(subscription).ack()
    channel.basic_publish("", RUN_QUEUE, body)
    queue.announce(doorbell("t1"))
    assert receive(subscription).message.task_id == "t1"
    assert get_soon(channel, "mc.dead.v1") == body


def test_what_is_no_control_message_goes_to_the_dead_queue_and_the_next_one_comes(
        queue: RabbitQueue, subscribe: Subscribe, channel: BlockingChannel) -> None:
    subscription = subscribe()
    idle(subscription)
    subscription.watch("t1")
    for body in (b"\xff", doorbell("t1").encode()):
        channel.basic_publish("mc.control.v1", "task.t1", body)
        assert get_soon(channel, "mc.dead.v1") == body
    queue.control(ControlTask(task_id="t1", epoch=4))
    assert subscription.receive(platforms=NONE, timeout_s=SOON_S).message.epoch == 4


def test_a_doorbell_beyond_the_delivery_limit_goes_to_the_dead_queue(queue: RabbitQueue, subscribe: Subscribe,
                                                                     channel: BlockingChannel) -> None:
    message = doorbell("t1")
    queue.announce(message)
    subscription = subscribe()
    for _ in range(DELIVERY_LIMIT + 1):
        receive(subscription).requeue()
    assert get_soon(channel, "mc.dead.v1") == message.encode()
    assert subscription.receive(platforms=EVERY, timeout_s=0.5) is None
