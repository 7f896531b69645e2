"""How RabbitMQ shares doorbells out: among priorities, workers and targets, and what comes again."""
from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

from pika.adapters.blocking_connection import BlockingChannel

from shared.queue.rabbitmq import RabbitQueue
from tests.contract.rabbitmq_kit import (
    ROOT,
    RUN_QUEUE,
    SOON_S,
    Subscribe,
    doorbell,
    idle,
    receive,
    wait_until_nobody_consumes,
)
from tests.fixtures.targets import EVERY, NONE

pytest_plugins = ["tests.contract.rabbitmq_queue"]


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
    for priority in ("low", "normal", "high"):
        wait_until_nobody_consumes(channel, f"mc.run.intel.{priority}.v1")
    ready = [channel.queue_declare(f"mc.run.intel.{p}.v1", passive=True).method for p in ("high", "normal", "low")]
    assert sum(method.message_count for method in ready) == 2


def test_a_worker_that_does_not_come_back_for_more_holds_nothing(queue: RabbitQueue, subscribe: Subscribe,
                                                                 channel: BlockingChannel) -> None:
    subscription = subscribe()
    idle(subscription)
    wait_until_nobody_consumes(channel, RUN_QUEUE)
    queue.announce(doorbell("t1"))
    method, _, _ = channel.basic_get(RUN_QUEUE, auto_ack=True)
    assert method


def test_each_of_many_doorbells_goes_to_one_of_several_workers(queue: RabbitQueue, subscribe: Subscribe) -> None:
    workers = [subscribe(f"w{i}") for i in range(3)]
    for worker in workers:
        idle(worker)
    for number in range(30):
        queue.announce(doorbell(f"t{number}"))
    taken: list[str] = []
    until = time.monotonic() + 2 * SOON_S
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
            "s = RabbitQueue(sys.argv[1], 30.0).subscribe('doomed', ['intel'])\n"
            "d = s.receive(platforms={'intel'}, timeout_s=120)\n"
            "print(d.message.task_id, flush=True); time.sleep(600)")
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
    idle(subscription, full)  # from now on these are pushed
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
    deadline, seen = time.monotonic() + SOON_S, []
    while seen != [(2, 0), (0, 3)]:  # (doorbells, consumers) of the target without room, and of the other
        assert time.monotonic() < deadline, seen
        assert subscription.receive(platforms=frozenset({"rockchip"}), timeout_s=0.5) is None
        there = [[channel.queue_declare(f"mc.run.{platform}.{p}.v1", passive=True).method
                  for p in ("high", "normal", "low")] for platform in ("intel", "rockchip")]
        seen = [(sum(method.message_count for method in methods), sum(method.consumer_count for method in methods))
                for methods in there]
