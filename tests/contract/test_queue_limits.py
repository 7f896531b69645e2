"""What is sent to nobody does not fill the broker's disk: the policy that `make up` sets."""
from __future__ import annotations

from contextlib import closing

import pika
import pytest

from infra.servers.rabbitmq import limit_arguments, rabbitmqctl
from shared.errors import Unavailable
from shared.messages import RunTask
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.topology import DEAD_QUEUE, run_queue
from tests.fixtures.rabbitmq import SharedNode
from tests.fixtures.targets import EVERY
from tests.integration.worker_kit import wait_until


@pytest.fixture
def limited(rabbitmq_server: SharedNode, amqp_url: str) -> str:
    """A virtual host whose queues are there before their limit of 3000 bytes."""
    with closing(RabbitQueue(amqp_url, timeout_s=30.0)) as queue:
        assert announced(queue, "first")
    rabbitmqctl(rabbitmq_server, *limit_arguments(3000, amqp_url.rpartition("/")[2]))
    return amqp_url


def announced(queue: RabbitQueue, task_id: str) -> bool:
    try:
        queue.announce(RunTask(task_id=task_id, epoch=0, platform="intel", priority="normal"))
    except Unavailable:
        return False
    return True


def test_a_full_queue_refuses_doorbells_until_there_is_room_again(limited: str) -> None:
    with closing(RabbitQueue(limited, timeout_s=30.0)) as queue, closing(queue.subscribe("w1", ["intel"])) as worker:
        told = []
        while len(told) < 200 and announced(queue, f"t{len(told)}"):
            told.append(f"t{len(told)}")
        assert 2 < len(told) < 50
        several = queue.announce_many([RunTask(task_id="t", epoch=0, platform="intel", priority=priority)
                                       for priority in ("low", "normal", "low", "normal")])
        assert [answer and answer.dependency for answer in several] == [None, "queue", None, "queue"]
        heard = []
        while len(heard) < len(told) + 3:
            delivery = worker.receive(platforms=EVERY, timeout_s=60.0)
            heard.append(delivery.message.task_id)
            delivery.ack()
        assert sorted(heard) == sorted(["first", *told, "t", "t"])
        wait_until(lambda: announced(queue, "last"))
        assert worker.receive(platforms=EVERY, timeout_s=60.0).message.task_id == "last"


def test_the_dead_queue_drops_its_oldest(limited: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(limited)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for number in range(20):
            channel.basic_publish("", DEAD_QUEUE, b"%02d" % number * 250)
        assert channel.basic_get(DEAD_QUEUE, auto_ack=True)[2] > b"10" * 250
        assert channel.queue_declare(run_queue("intel", "normal"), passive=True).method.message_count == 1
