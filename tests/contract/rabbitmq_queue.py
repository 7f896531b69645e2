"""A queue on a virtual host of its own, as fixtures; a test module names this file in `pytest_plugins`."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from infra.servers.rabbitmq import rabbitmqctl
from shared.queue.rabbitmq import RabbitQueue
from shared.queue.rabbitmq_subscription import RabbitSubscription
from tests.contract.rabbitmq_kit import Subscribe
from tests.fixtures.rabbitmq import SharedNode


@pytest.fixture
def queue(amqp_url: str) -> Iterator[RabbitQueue]:
    queue = RabbitQueue(amqp_url, timeout_s=30.0)
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
