"""A RabbitMQ that stops, dies, freezes, refuses or drops connections: nobody waits too long, and all heals."""
from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from infra.servers.base import free_port
from infra.servers.rabbitmq import rabbitmqctl
from shared.errors import Unavailable
from shared.messages import ControlTask, RunTask
from shared.queue import rabbitmq
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.rabbitmq_subscription import RabbitSubscription
from tests.fixtures.rabbitmq import PrivateBroker, SharedNode
from tests.fixtures.targets import EVERY, NONE

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 2.5
SLACK_S = 10.0  # of a busy machine; without a limit the calls would wait until the test brings the broker back
HEALED_S = 120.0  # a reconnect every 5 s at worst

Open = Callable[[str], RabbitQueue]


@pytest.fixture
def resources() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def open_queue(resources: ExitStack) -> Open:
    def open_queue(url: str) -> RabbitQueue:
        queue = RabbitQueue(url, TIMEOUT_S)
        resources.callback(queue.close)
        return queue

    return open_queue


@pytest.fixture
def subscribe(resources: ExitStack) -> Callable[[RabbitQueue], RabbitSubscription]:
    def subscribe(queue: RabbitQueue) -> RabbitSubscription:
        subscription = queue.subscribe("w1", ["intel"])
        resources.callback(subscription.close)
        return subscription

    return subscribe


def doorbell(task_id: str) -> RunTask:
    return RunTask(task_id=task_id, epoch=0, platform="intel", priority="normal")


def calls(queue: RabbitQueue) -> list[Callable[[], None]]:
    return [lambda: queue.announce(doorbell("t")), lambda: queue.control(ControlTask(task_id="t", epoch=0)), queue.ping]


def assert_unavailable_in_time(queue: RabbitQueue) -> None:
    for call in calls(queue):
        started = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            call()
        assert time.monotonic() - started < TIMEOUT_S + SLACK_S
        assert caught.value.dependency == "queue"
    started = time.monotonic()
    answers = queue.announce_many([doorbell(f"t{number}") for number in range(20)])
    assert time.monotonic() - started < TIMEOUT_S + 0.3
    assert [answer and answer.dependency for answer in answers] == ["queue"] * 20


def announce_when_healed(queue: RabbitQueue, task_id: str) -> None:
    deadline = time.monotonic() + HEALED_S
    while True:
        try:
            return queue.announce(doorbell(task_id))
        except Unavailable:
            assert time.monotonic() < deadline, "the publisher did not heal"
            time.sleep(0.1)


def received_until(subscription: RabbitSubscription, task_id: str) -> set[str]:
    """Every doorbell until this one; all are acknowledged."""
    received: set[str] = set()
    deadline = time.monotonic() + HEALED_S
    while task_id not in received:
        assert time.monotonic() < deadline, f"{task_id} did not come, only {received}"
        if delivery := subscription.receive(platforms=EVERY, timeout_s=0.5):
            received.add(delivery.message.task_id)
            delivery.ack()
    return received


def wait_until_acknowledged(broker: PrivateBroker) -> None:
    """Until the broker has seen the acknowledgement of whatever it delivered."""
    deadline = time.monotonic() + HEALED_S
    while True:
        listed = broker.control("list_queues", "-p", broker.url.rpartition("/")[2], "--formatter", "json", "messages")
        if not any(queue["messages"] for queue in json.loads(listed)):
            return
        assert time.monotonic() < deadline, listed


def drained(subscription: RabbitSubscription) -> bool:
    return subscription.receive(platforms=EVERY, timeout_s=0.5) is None


def test_without_any_broker_calls_fail_in_time_and_receive_waits(open_queue: Open, subscribe) -> None:
    queue = open_queue(f"amqp://guest:guest@127.0.0.1:{free_port()}/")
    assert_unavailable_in_time(queue)
    subscription = subscribe(queue)
    subscription.watch("t1")
    started = time.monotonic()
    assert subscription.receive(platforms=EVERY, timeout_s=0.5) is None
    assert 0.4 < time.monotonic() - started < SLACK_S


def test_wrong_credentials_are_told(rabbitmq_server: SharedNode, open_queue: Open) -> None:
    with pytest.raises(Unavailable, match="ACCESS_REFUSED"):
        open_queue(rabbitmq_server.url.replace("guest:guest", "guest:wrong")).ping()


def test_a_broker_that_is_stopped_and_started_is_found_again(private_broker: PrivateBroker, open_queue: Open,
                                                             subscribe) -> None:
    queue = open_queue(private_broker.url)
    subscription = subscribe(queue)
    assert drained(subscription)
    subscription.watch("t1")
    queue.announce(doorbell("before"))
    received_until(subscription, "before")
    wait_until_acknowledged(private_broker)
    private_broker.server.stop()
    assert_unavailable_in_time(queue)
    started = time.monotonic()
    assert subscription.receive(platforms=EVERY, timeout_s=0.4) is None
    assert time.monotonic() - started < SLACK_S
    subscription.watch("t2")
    subscription.unwatch("t1")
    private_broker.start()
    announce_when_healed(queue, "after")
    assert received_until(subscription, "after") == {"after"}
    for task_id in ("t1", "t2"):
        queue.control(ControlTask(task_id=task_id, epoch=0))
    assert subscription.receive(platforms=NONE, timeout_s=HEALED_S).message.task_id == "t2", "bound again, t1 not"


def test_confirmed_doorbells_survive_a_kill_in_mid_consume(private_broker: PrivateBroker, open_queue: Open,
                                                           subscribe) -> None:
    queue = open_queue(private_broker.url)
    subscription = subscribe(queue)
    for number in range(5):
        queue.announce(doorbell(f"t{number}"))
    taken = [subscription.receive(platforms=EVERY, timeout_s=HEALED_S) for _ in range(2)]
    assert all(taken)
    private_broker.server.kill()
    for delivery in taken:
        delivery.ack()
        delivery.requeue()
    assert drained(subscription)
    private_broker.start()
    announce_when_healed(queue, "last")
    assert received_until(subscription, "last") >= {"last", "t2", "t3", "t4"}


def test_a_frozen_broker_holds_no_caller_longer_than_its_timeout(private_broker: PrivateBroker, open_queue: Open,
                                                                 subscribe) -> None:
    queue, late = open_queue(private_broker.url), open_queue(private_broker.url)
    subscription = subscribe(queue)
    assert drained(subscription)
    queue.announce(doorbell("before"))
    received_until(subscription, "before")
    private_broker.signal(signal.SIGSTOP)
    assert_unavailable_in_time(queue)
    assert_unavailable_in_time(late)
    started = time.monotonic()
    for platforms in (EVERY, NONE):
        assert subscription.receive(platforms=platforms, timeout_s=0.3) is None
    subscription.watch("t1")
    assert time.monotonic() - started < 0.6 + TIMEOUT_S + SLACK_S
    private_broker.signal(signal.SIGCONT)
    announce_when_healed(queue, "after")
    assert "after" in received_until(subscription, "after")


def test_a_frozen_broker_does_not_hold_close(private_broker: PrivateBroker, open_queue: Open, subscribe) -> None:
    queue = open_queue(private_broker.url)
    subscription = subscribe(queue)
    assert drained(subscription)
    queue.ping()
    private_broker.signal(signal.SIGSTOP)
    started = time.monotonic()
    subscription.close()
    queue.close()
    assert time.monotonic() - started < TIMEOUT_S + SLACK_S


def test_under_a_memory_alarm_publishing_fails_in_time_and_receiving_goes_on(private_broker: PrivateBroker,
                                                                            open_queue: Open, subscribe) -> None:
    queue = open_queue(private_broker.url)
    queue.announce(doorbell("before-1"))
    queue.announce(doorbell("before-2"))
    private_broker.control("set_vm_memory_high_watermark", "0.0001")
    assert_unavailable_in_time(queue)
    subscription = subscribe(queue)
    assert received_until(subscription, "before-2") == {"before-1", "before-2"}
    started = time.monotonic()
    with pytest.raises(Unavailable, match="memory"):
        queue.announce(doorbell("during"))
    assert time.monotonic() - started < TIMEOUT_S, "an alarm that was told is not waited for"
    private_broker.control("set_vm_memory_high_watermark", "0.4")
    announce_when_healed(queue, "after")
    received_until(subscription, "after")
    assert drained(subscription), "what was acknowledged under the alarm stays so"


def test_a_channel_that_the_broker_closes_is_replaced(private_broker: PrivateBroker, open_queue: Open,
                                                      subscribe) -> None:
    private_broker.server.stop()
    private_broker.start(consumer_timeout_ms=1000)
    queue = open_queue(private_broker.url)
    subscription = subscribe(queue)
    queue.announce(doorbell("held"))
    held = subscription.receive(platforms=EVERY, timeout_s=HEALED_S)
    assert held
    again = subscription.receive(platforms=EVERY, timeout_s=HEALED_S)
    assert again and again.message.task_id == "held", "the closed channel went unnoticed"
    held.ack()
    again.ack()
    queue.announce(doorbell("next"))
    assert received_until(subscription, "next") == {"next"}


def test_a_dropped_connection_costs_the_next_publish_nothing(rabbitmq_server: SharedNode, amqp_url: str,
                                                             open_queue: Open, subscribe) -> None:
    queue = open_queue(amqp_url)
    subscription = subscribe(queue)
    for round_number in range(3):
        queue.announce(doorbell(f"t{round_number}"))
        rabbitmqctl(rabbitmq_server, "close_all_connections", "--vhost", amqp_url.rpartition("/")[2], "test")
    assert queue.announce_many([doorbell("t3"), doorbell("last")]) == [None, None]
    assert received_until(subscription, "last") | {"t0", "t1", "t2", "t3"} == {"t0", "t1", "t2", "t3", "last"}


def test_a_publisher_that_was_frozen_while_its_connection_was_closed_goes_on(rabbitmq_server: SharedNode,
                                                                            amqp_url: str) -> None:
    code = ("import sys; from shared.queue.rabbitmq import RabbitQueue; from shared.messages import RunTask\n"
            f"queue = RabbitQueue(sys.argv[1], {TIMEOUT_S})\n"
            "for line in sys.stdin:\n"
            "    queue.announce(RunTask(task_id=line.strip(), epoch=0, platform='intel', priority='low'))\n"
            "    print('confirmed', flush=True)")
    command = [sys.executable, "-c", code, amqp_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as function:
        for task_id in ("t1", "t2"):
            function.stdin.write(f"{task_id}\n")
            function.stdin.flush()
            if task_id == "t2":
                function.send_signal(signal.SIGCONT)
            assert function.stdout.readline() == "confirmed\n", task_id
            if task_id == "t1":
                function.send_signal(signal.SIGSTOP)
                rabbitmqctl(rabbitmq_server, "close_all_connections", "--vhost", amqp_url.rpartition("/")[2], "test")
        function.stdin.close()


class Proxy:
    """Forwards connections to the broker; `freeze` lets the open ones go silent without closing them."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._generation = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._generation += 1

    def close(self) -> None:
        for end in (self._listener, *self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target_port))
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(*pair, self._generation), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, generation: int) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if generation == self._generation:
                    target.sendall(data)


def test_a_connection_that_died_without_a_word_is_replaced_within_the_same_call(
        rabbitmq_server: SharedNode, amqp_url: str, open_queue: Open, resources: ExitStack,
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "FRESH_S", 0.2)
    port = rabbitmq_server.url.rstrip("/").rpartition(":")[2]
    proxy = Proxy(int(port))
    resources.callback(proxy.close)
    queue = open_queue(amqp_url.replace(f":{port}", f":{proxy.port}"))
    queue.announce(doorbell("t1"))
    proxy.freeze()
    time.sleep(0.3)
    started = time.monotonic()
    queue.announce(doorbell("t2"))
    assert time.monotonic() - started < TIMEOUT_S
