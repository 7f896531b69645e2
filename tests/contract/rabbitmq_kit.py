"""What the tests of RabbitMQ do with doorbells."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pika.adapters.blocking_connection import BlockingChannel

from shared.messages import RunTask
from shared.queue import Delivery
from shared.queue.rabbitmq_subscription import RabbitSubscription
from tests.fixtures.targets import EVERY

ROOT = Path(__file__).parents[2]
SOON_S = 60.0
RUN_QUEUE = "mc.run.intel.normal.v1"

Subscribe = Callable[..., RabbitSubscription]


def doorbell(task_id: str, priority: str = "normal", platform: str = "intel") -> RunTask:
    return RunTask(task_id=task_id, epoch=0, platform=platform, priority=priority)


def receive(subscription: RabbitSubscription, timeout_s: float = SOON_S) -> Delivery:
    delivery = subscription.receive(platforms=EVERY, timeout_s=timeout_s)
    assert delivery is not None, "no doorbell came"
    return delivery


def idle(subscription: RabbitSubscription, platforms: frozenset[str] = EVERY) -> None:
    """Let it find these targets' queues empty, and consume from them."""
    deadline, consumes = time.monotonic() + SOON_S, False
    while not consumes:
        assert time.monotonic() < deadline, "it does not consume"
        assert subscription.receive(platforms=platforms, timeout_s=0.5) is None
        receiver = subscription._receiver
        consumes = receiver is not None and bool(receiver._run_tags)


def wait_until_nobody_consumes(channel: BlockingChannel, queue_name: str) -> None:
    deadline = time.monotonic() + SOON_S
    while channel.queue_declare(queue_name, passive=True).method.consumer_count:
        assert time.monotonic() < deadline, "it still consumes"
        time.sleep(0.05)


def get_soon(channel: BlockingChannel, queue_name: str) -> bytes | None:
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        method, _, body = channel.basic_get(queue_name, auto_ack=True)
        if method:
            return body
        time.sleep(0.05)
    return None
