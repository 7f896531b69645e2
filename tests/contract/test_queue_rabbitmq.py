"""What only RabbitMQ can do wrong while it is up: topology, what is routed where, closed channels, deleted queues."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from infra.servers.rabbitmq import limit_arguments, rabbitmqctl
from shared.errors import Unavailable
from shared.messages import ControlTask, RunTask
from shared.queue import Delivery
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.rabbitmq_subscription import RabbitSubscription
from shared.queue.topology import DELIVERY_LIMIT
from tests.fixtures.rabbitmq import SharedNode
from tests.fixtures.targets import EVERY, NONE

ROOT = Path(__file__).parents[2]
SOON_S = 5.0
RUN_QUEUE = "mc.run.intel.normal.v1"

Subscribe = Callable[..., RabbitSubscription]


@pytest.fixture
def queue(amqp_url: str) -> Iterator[RabbitQueue]:
    queue = RabbitQueue(amqp_url, timeout_s=3.0)
    yield queue
    queue.close()


@pytest.fixture
def subscribe(queue: RabbitQueue) -> Iterator[Subscribe]:
    opened = []

    def subscribe(worker_id: str = "w1", *platforms: str) -> RabbitSubscription:
        opened.append(queue.subscribe(worker_id, list(platforms) or ["intel"]))
        return opened[-1]

    yield subscribe
    for subscription in opened:
        subscription.close()


@pytest.fixture
def channel(amqp_url: str) -> Iterator[BlockingChannel]:
    """Somebody else's channel to the same virtual host."""
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


@pytest.fixture
def listing(rabbitmq_server: SharedNode, amqp_url: str) -> Callable[..., list[dict]]:
    """`rabbitmqctl list_…` of the test's virtual host, as rows."""
    def listing(*args: str) -> list[dict]:
        what, vhost = f"list_{args[0]}", amqp_url.rpartition("/")[2]
        return json.loads(rabbitmqctl(rabbitmq_server, what, "-p", vhost, "--formatter", "json", *args[1:]))

    return listing


def doorbell(task_id: str, priority: str = "normal", platform: str = "intel") -> RunTask:
    return RunTask(task_id=task_id, epoch=0, platform=platform, priority=priority)


def receive(subscription: RabbitSubscription, timeout_s: float = SOON_S) -> Delivery:
    delivery = subscription.receive(platforms=EVERY, timeout_s=timeout_s)
    assert delivery is not None, "no doorbell came"
    return delivery


def idle(subscription: RabbitSubscription) -> None:
    """Let it find its queues empty and consume."""
    assert subscription.receive(platforms=EVERY, timeout_s=0.5) is None


def get_soon(channel: BlockingChannel, queue_name: str) -> bytes | None:
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        method, _, body = channel.basic_get(queue_name, auto_ack=True)
        if method:
            return body
        time.sleep(0.05)
    return None


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
    assert time.monotonic() - started < 3.5
    queue.announce(doorbell("t2", platform="rockchip"))


def test_a_consumer_whose_queue_was_deleted_consumes_again_within_a_tick(queue: RabbitQueue, subscribe: Subscribe,
                                                                        channel: BlockingChannel) -> None:
    subscription = subscribe()
    idle(subscription)
    channel.queue_delete(RUN_QUEUE)
    time.sleep(1.0)
    queue.announce(doorbell("t1"))
    assert receive(subscription, 1.0).message.task_id == "t1"


def test_a_worker_whose_control_queue_was_deleted_hears_control_messages_again(
        queue: RabbitQueue, subscribe: Subscribe, channel: BlockingChannel, rabbitmq_server: SharedNode,
        amqp_url: str, listing: Callable[..., list[dict]]) -> None:
    subscription = subscribe("w1")
    idle(subscription)
    subscription.watch("t1")
    name = next(row["name"] for row in listing("queues", "name") if row["name"].startswith("mc.control."))
    rabbitmqctl(rabbitmq_server, "delete_queue", "-p", amqp_url.rpartition("/")[2], name)
    time.sleep(1.0)
    queue.control(ControlTask(task_id="t1", epoch=0))
    assert subscription.receive(platforms=NONE, timeout_s=1.0).message.task_id == "t1"


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


def test_a_queue_takes_so_many_bytes_and_what_it_refuses_is_told(
        queue: RabbitQueue, subscribe: Subscribe, channel: BlockingChannel, rabbitmq_server: SharedNode,
        amqp_url: str) -> None:
    """Also one that was there before its limit. The dead queue drops its oldest instead."""
    queue.announce(doorbell("t0"))
    rabbitmqctl(rabbitmq_server, *limit_arguments(3000, amqp_url.rpartition("/")[2]))

    def refused(number: int) -> bool:
        try:
            queue.announce(doorbell(f"t{number}"))
        except Unavailable:
            return True
        return False

    assert any(refused(number) for number in range(1, 200))
    before = channel.queue_declare(RUN_QUEUE, passive=True).method.message_count
    assert before < 50
    subscription = subscribe()
    for _ in range(before):
        receive(subscription).ack()
    deadline = time.monotonic() + 30
    while refused(200):
        assert time.monotonic() < deadline
    assert receive(subscription).message.task_id == "t200"
    for number in range(20):
        channel.basic_publish("", "mc.dead.v1", b"%d" % number * 500)
    assert get_soon(channel, "mc.dead.v1") != b"0" * 500


def test_of_a_backlog_every_priority_gets_its_share(queue: RabbitQueue, subscribe: Subscribe) -> None:
    for priority in ("high", "normal", "low"):
        for number in range(16):
            queue.announce(doorbell(f"{priority}-{number}", priority))
    subscription = subscribe()
    taken = []
    for _ in range(26):
        delivery = receive(subscription)
        taken.append(delivery.message.task_id)
        delivery.ack()
    assert Counter(task_id.split("-")[0] for task_id in taken) == {"high": 16, "normal": 8, "low": 2}
    for priority in ("high", "normal", "low"):
        numbers = [int(t.split("-")[1]) for t in taken if t.startswith(priority)]
        assert numbers == sorted(numbers), "first come, first served within a priority"


def test_an_idle_worker_keeps_only_what_it_takes_of_a_burst(queue: RabbitQueue, subscribe: Subscribe,
                                                            channel: BlockingChannel) -> None:
    subscription = subscribe()
    idle(subscription)
    for priority in ("low", "normal", "high"):
        queue.announce(doorbell(priority, priority))
    receive(subscription).ack()
    assert subscription.receive(platforms=NONE, timeout_s=0.5) is None
    ready = [channel.queue_declare(f"mc.run.intel.{p}.v1", passive=True).method for p in ("high", "normal", "low")]
    assert sum(method.message_count for method in ready) == 2
    assert sum(method.consumer_count for method in ready) == 0


def test_a_worker_that_does_not_come_back_for_more_holds_nothing(queue: RabbitQueue, subscribe: Subscribe,
                                                                 channel: BlockingChannel) -> None:
    subscription = subscribe()
    idle(subscription)
    time.sleep(0.6)
    queue.announce(doorbell("t1"))
    method, _, _ = channel.basic_get(RUN_QUEUE, auto_ack=True)
    assert method, "it still consumed"


def test_each_of_many_doorbells_goes_to_one_of_several_workers(queue: RabbitQueue, subscribe: Subscribe) -> None:
    workers = [subscribe(f"w{i}") for i in range(3)]
    for worker in workers:
        idle(worker)
    for number in range(30):
        queue.announce(doorbell(f"t{number}"))
    taken: list[str] = []
    until = time.monotonic() + 15
    while len(taken) < 30 and time.monotonic() < until:
        for worker in workers:
            if delivery := worker.receive(platforms=EVERY, timeout_s=0.1):
                taken.append(delivery.message.task_id)
                delivery.ack()
    assert sorted(taken) == sorted(f"t{number}" for number in range(30))


def test_a_killed_workers_unacknowledged_doorbell_comes_to_another(amqp_url: str, queue: RabbitQueue,
                                                                   subscribe: Subscribe) -> None:
    queue.announce(doorbell("t1"))
    code = ("import sys, time; from shared.queue.rabbitmq import RabbitQueue\n"
            "s = RabbitQueue(sys.argv[1], 3.0).subscribe('doomed', ['intel'])\n"
            "d = s.receive(platforms={'intel'}, timeout_s=20)\n"
            "print(d.message.task_id, flush=True); time.sleep(60)")
    command = [sys.executable, "-c", code, amqp_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as worker:
        assert worker.stdout.readline() == "t1\n"
        subscription = subscribe("heir")
        idle(subscription)
        worker.kill()
    assert receive(subscription).message.task_id == "t1"


def test_what_was_acknowledged_just_before_close_does_not_come_again(queue: RabbitQueue, subscribe: Subscribe,
                                                                    channel: BlockingChannel) -> None:
    for number in range(5):
        queue.announce(doorbell(f"t{number}"))
    first = subscribe("w1")
    deliveries = [receive(first) for _ in range(5)]
    for delivery in deliveries[:4]:
        delivery.ack()
    first.close()
    second = subscribe("w2")
    assert receive(second).message.task_id == "t4"
    assert second.receive(platforms=EVERY, timeout_s=0.5) is None


def test_answering_a_delivery_twice_does_no_harm(queue: RabbitQueue, subscribe: Subscribe) -> None:
    subscription = subscribe()
    queue.announce(doorbell("held"))
    assert receive(subscription).message.task_id == "held"
    queue.announce(doorbell("t1"))
    delivery = receive(subscription)
    delivery.ack()
    delivery.ack()
    delivery.requeue()
    assert subscription.receive(platforms=EVERY, timeout_s=1.0) is None, "the broker closed the channel"


def test_a_worker_of_several_targets_serves_them_in_turn(queue: RabbitQueue, subscribe: Subscribe) -> None:
    platforms = ["intel", "rockchip", "huawei"]
    for platform in platforms:
        for number in range(4):
            queue.announce(doorbell(f"{platform}-{number}", platform=platform))
    subscription = subscribe("w1", *platforms)
    taken = []
    for _ in range(12):
        delivery = receive(subscription)
        taken.append(delivery.message.platform)
        delivery.ack()
    assert all(set(taken[i:i + 3]) == set(platforms) for i in range(0, 12, 3)), taken


def test_a_target_that_has_room_again_does_not_stand_behind_anothers_unending_doorbells(
        queue: RabbitQueue, subscribe: Subscribe) -> None:
    subscription = subscribe("w1", "intel", "rockchip")
    full = frozenset({"rockchip"})
    assert subscription.receive(platforms=full, timeout_s=0.5) is None  # from now on these are pushed
    for number in range(3):
        queue.announce(doorbell(f"intel-{number}"))
    for number in range(20):
        queue.announce(doorbell(f"rockchip-{number}", platform="rockchip"))
    taken = []
    for platforms in (full, full, *[EVERY] * 6):
        delivery = subscription.receive(platforms=platforms, timeout_s=SOON_S)
        assert delivery is not None
        taken.append(delivery.message.task_id)
        delivery.ack()
        time.sleep(0.05)  # the next one of those that are pushed is there before this worker is
    assert taken[:2] == ["rockchip-0", "rockchip-1"]
    assert sorted(taken[2:]) == ["intel-0", "intel-1", "intel-2", "rockchip-2", "rockchip-3", "rockchip-4"]


def test_a_target_that_has_no_room_any_more_is_not_listened_to_and_what_came_is_handed_back(
        queue: RabbitQueue, subscribe: Subscribe, channel: BlockingChannel) -> None:
    subscription = subscribe("w1", "intel", "rockchip")
    idle(subscription)
    for priority in ("low", "normal", "high"):
        queue.announce(doorbell(priority, priority))
    receive(subscription).ack()
    assert subscription.receive(platforms=frozenset({"rockchip"}), timeout_s=0.5) is None
    full, free = ([channel.queue_declare(f"mc.run.{platform}.{p}.v1", passive=True).method
                   for p in ("high", "normal", "low")] for platform in ("intel", "rockchip"))
    assert [sum(method.message_count for method in methods) for methods in (full, free)] == [2, 0]
    time.sleep(0.1)
    assert subscription.receive(platforms=frozenset({"rockchip"}), timeout_s=0.1) is None
    assert [sum(method.consumer_count for method in methods) for methods in (full, free)] == [0, 3]
