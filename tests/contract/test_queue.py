"""What every queue must do, over a real store: polling it, or by a real RabbitMQ.

A worker here does what the product's does: it claims in the store what a doorbell names.
"""
from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared import transitions
from shared.documents import HEAD_START_S, Task
from shared.messages import ControlTask, RunTask
from shared.queue import Delivery, Queue, Subscription, open_queue
from shared.store import open_store
from tests.fixtures.targets import EVERY, NONE

SOON_S = 60.0
HANG_S = 20.0  # what waits longer hangs: whatever it could wait for comes later, or never
ROCKCHIP = frozenset({"rockchip"})  # room for this target's tasks only


class Service:
    """A store with tasks, and a queue that tells of them."""

    def __init__(self, queue_url: str, data_dir: Path) -> None:
        self.store = open_store(f"sqlite:{data_dir}/tasks.db", 30.0)
        self.queue: Queue = open_queue(queue_url, lambda: self.store, timeout_s=30.0, poll_s=0.02)
        self._subscriptions: list[Subscription] = []

    def subscribe(self, worker_id: str, *platforms: str) -> Subscription:
        subscription = self.queue.subscribe(worker_id, list(platforms) or ["intel"])
        self._subscriptions.append(subscription)
        return subscription

    def create(self, task_id: str, platform: str = "intel", priority: str = "normal") -> None:
        now = time.time()
        self.store.insert(Task(id=task_id, task_type="onnx_to_x", platform=platform, input_path="models/in",
                               output_path="results/out", priority=priority,
                               queue_order=now - HEAD_START_S[priority], created_at=now, updated_at=now))
        self.queue.announce(RunTask(task_id=task_id, epoch=0, platform=platform, priority=priority))

    def claim(self, task_id: str, worker_id: str) -> bool:
        return self.store.update(task_id, transitions.claim(worker_id)) is not None

    def run(self, task_id: str, worker_id: str, subscription: Subscription) -> None:
        """A task that this worker has claimed and listens to."""
        self.create(task_id)
        assert receive_run(subscription).message.task_id == task_id
        assert self.claim(task_id, worker_id)
        subscription.watch(task_id)

    def pause(self, task_id: str) -> None:
        assert self.store.update(task_id, transitions.pause())
        self.queue.control(ControlTask(task_id=task_id, epoch=1))

    def close(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        self.queue.close()
        self.store.close()


@pytest.fixture(params=["poll", "amqp"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    url = "poll:" if request.param == "poll" else request.getfixturevalue("amqp_url")
    service = Service(url, tmp_path)
    yield service
    service.close()


def receive_run(subscription: Subscription, platforms: frozenset[str] = EVERY) -> Delivery:
    """The next doorbell, acknowledged."""
    delivery = subscription.receive(platforms=platforms, timeout_s=SOON_S)
    assert delivery is not None, "no doorbell came"
    assert isinstance(delivery.message, RunTask)
    delivery.ack()
    return delivery


def silent(subscription: Subscription, *, platforms: frozenset[str], seconds: float = 0.6) -> bool:
    return subscription.receive(platforms=platforms, timeout_s=seconds) is None


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_an_announced_task_is_received_with_its_identity(service: Service) -> None:
    service.create("t1", priority="high")
    message = receive_run(service.subscribe("w1")).message
    assert (message.task_id, message.epoch, message.platform, message.priority) == ("t1", 0, "intel", "high")


def test_receive_answers_none_when_nothing_came_in_time(service: Service) -> None:
    subscription = service.subscribe("w1")
    started = time.monotonic()
    assert subscription.receive(platforms=EVERY, timeout_s=0.3) is None
    assert 0.25 < time.monotonic() - started < HANG_S


def test_wake_lets_a_waiting_receive_return_at_once(service: Service) -> None:
    subscription = service.subscribe("w1")
    answers: list[tuple[Delivery | None, float]] = []
    started = time.monotonic()
    receiver = in_thread(lambda: answers.append((subscription.receive(platforms=EVERY, timeout_s=300),
                                                 time.monotonic() - started)))
    time.sleep(0.3)
    subscription.wake()
    receiver.join(SOON_S)
    assert answers and answers[0][0] is None and answers[0][1] < HANG_S


def test_close_lets_a_waiting_receive_return(service: Service) -> None:
    subscription = service.subscribe("w1")
    receiver = in_thread(lambda: subscription.receive(platforms=EVERY, timeout_s=300))
    time.sleep(0.3)
    subscription.close()
    receiver.join(SOON_S)
    assert not receiver.is_alive()


def test_an_idle_worker_hears_of_a_new_task_soon(service: Service) -> None:
    subscription = service.subscribe("w1")
    assert silent(subscription, platforms=EVERY)
    heard: list[float] = []
    receiver = in_thread(lambda: receive_run(subscription) and heard.append(time.monotonic()))
    time.sleep(0.3)
    sent = time.monotonic()
    service.create("t1")
    receiver.join(SOON_S)
    assert heard and heard[0] - sent < HANG_S


def test_without_a_free_slot_no_doorbell_comes_and_another_worker_gets_it(service: Service) -> None:
    full, free = service.subscribe("w1"), service.subscribe("w2")
    assert silent(full, platforms=EVERY)  # it has been idle, so that doorbells were on their way to it
    assert silent(full, platforms=NONE, seconds=0.2)
    service.create("t1")
    assert silent(full, platforms=NONE)
    assert receive_run(free).message.task_id == "t1"


def test_a_slot_that_becomes_free_gets_what_waited(service: Service) -> None:
    subscription = service.subscribe("w1")
    service.create("t1")
    assert silent(subscription, platforms=NONE)
    assert receive_run(subscription).message.task_id == "t1"


def test_a_doorbell_of_a_target_without_room_stays_for_another_worker(service: Service) -> None:
    full, free = service.subscribe("w1", "intel", "rockchip"), service.subscribe("w2", "intel", "rockchip")
    assert silent(full, platforms=EVERY)  # it has been idle, so that doorbells of both were on their way to it
    assert silent(full, platforms=ROCKCHIP, seconds=0.2)
    service.create("t1", "intel")
    assert silent(full, platforms=ROCKCHIP)
    assert receive_run(free).message.task_id == "t1"


def test_what_waits_for_room_keeps_no_other_target_waiting(service: Service) -> None:
    subscription = service.subscribe("w1", "intel", "rockchip")
    for number in range(10):
        service.create(f"i{number}", "intel", "high")
    for priority in ("low", "normal", "high"):
        service.create(f"r-{priority}", "rockchip", priority)
    order = []
    for _ in range(3):
        order.append(task_id := receive_run(subscription, ROCKCHIP).message.task_id)
        assert service.claim(task_id, "w1")
    assert order == ["r-high", "r-normal", "r-low"]
    assert silent(subscription, platforms=ROCKCHIP)
    assert receive_run(subscription).message.platform == "intel"


def test_what_waited_for_room_comes_as_soon_as_there_is_room(service: Service) -> None:
    subscription = service.subscribe("w1", "intel", "rockchip")
    service.create("t1", "intel")
    assert silent(subscription, platforms=ROCKCHIP)
    began = time.monotonic()
    assert receive_run(subscription).message.task_id == "t1"
    assert time.monotonic() - began < HANG_S


def test_only_the_subscribed_targets_doorbells_come(service: Service) -> None:
    subscription = service.subscribe("w1", "intel", "rockchip")
    for platform in ("huawei", "intel", "qualcomm", "rockchip"):
        service.create(f"for-{platform}", platform)
    received = set()
    for _ in range(2):
        received.add(task_id := receive_run(subscription).message.task_id)
        assert service.claim(task_id, "w1")
    assert received == {"for-intel", "for-rockchip"}
    assert silent(subscription, platforms=EVERY)


def test_the_high_ones_come_first(service: Service) -> None:
    for priority in ("low", "normal", "high"):
        service.create(f"{priority}-1", priority=priority)
    subscription = service.subscribe("w1")
    order = []
    for _ in range(3):
        order.append(task_id := receive_run(subscription).message.task_id)
        assert service.claim(task_id, "w1")
    assert order == ["high-1", "normal-1", "low-1"]


def test_a_doorbell_that_was_handed_back_comes_again(service: Service) -> None:
    service.create("t1")
    subscription = service.subscribe("w1")
    delivery = subscription.receive(platforms=EVERY, timeout_s=SOON_S)
    assert delivery is not None
    delivery.requeue()
    assert receive_run(subscription).message.task_id == "t1"


def test_several_workers_claim_each_task_once_and_none_is_left(service: Service) -> None:
    tasks = [f"t{i}" for i in range(40)]
    with ThreadPoolExecutor(8) as clients:  # announcing is thread-safe
        list(clients.map(service.create, tasks))
    claimed: list[str] = []
    until = time.monotonic() + 2 * SOON_S

    def work(worker_id: str) -> None:
        subscription = service.subscribe(worker_id)
        while len(claimed) < len(tasks) and time.monotonic() < until:
            delivery = subscription.receive(platforms=EVERY, timeout_s=0.2)
            if delivery:
                if service.claim(delivery.message.task_id, worker_id):
                    claimed.append(delivery.message.task_id)
                delivery.ack()

    workers = [in_thread(lambda name=f"w{i}": work(name)) for i in range(3)]
    for worker in workers:
        worker.join()
    assert sorted(claimed) == sorted(tasks)


def test_a_control_message_reaches_the_watching_worker_only(service: Service) -> None:
    owner, other = service.subscribe("w1"), service.subscribe("w2")
    service.run("t1", "w1", owner)
    service.pause("t1")
    delivery = owner.receive(platforms=EVERY, timeout_s=SOON_S)
    assert delivery is not None and isinstance(delivery.message, ControlTask) and delivery.message.task_id == "t1"
    delivery.ack()
    assert silent(owner, platforms=EVERY), "one change, one message"
    assert silent(other, platforms=EVERY)


def test_a_control_message_comes_without_a_free_slot(service: Service) -> None:
    owner = service.subscribe("w1")
    service.run("t1", "w1", owner)
    service.pause("t1")
    delivery = owner.receive(platforms=NONE, timeout_s=SOON_S)
    assert delivery is not None and delivery.message.task_id == "t1"


def test_every_further_change_is_told(service: Service) -> None:
    owner = service.subscribe("w1")
    service.run("t1", "w1", owner)
    for change in (transitions.pause(), transitions.resume(), transitions.cancel()):
        assert service.store.update("t1", change)
        service.queue.control(ControlTask(task_id="t1", epoch=1))
        delivery = owner.receive(platforms=NONE, timeout_s=SOON_S)
        assert delivery is not None and isinstance(delivery.message, ControlTask)


def test_the_owner_of_a_deleted_task_is_told(service: Service) -> None:
    owner = service.subscribe("w1")
    service.run("t1", "w1", owner)
    assert service.store.delete("t1")
    service.queue.control(ControlTask(task_id="t1", epoch=1))
    delivery = owner.receive(platforms=NONE, timeout_s=SOON_S)
    assert delivery is not None and delivery.message.task_id == "t1"


def test_an_unwatched_task_is_not_heard_of_any_more(service: Service) -> None:
    owner = service.subscribe("w1")
    service.run("t1", "w1", owner)
    owner.unwatch("t1")
    service.pause("t1")
    assert silent(owner, platforms=NONE)


def test_a_control_message_that_nobody_listens_to_is_no_error(service: Service) -> None:
    service.queue.control(ControlTask(task_id="nobody", epoch=3))
    assert silent(service.subscribe("w1"), platforms=EVERY)


def test_a_reachable_queue_answers_ping(service: Service) -> None:
    started = time.monotonic()
    service.queue.ping()
    assert time.monotonic() - started < HANG_S
