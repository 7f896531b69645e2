"""RabbitMQ's exchanges, queues and bindings, as data: each declaration is a channel's method and its arguments.

Queue arguments cannot be changed later (406 PRECONDITION_FAILED), hence the version in every name. What may change is
a policy: the broker's operator sets it (`python -m infra.up` does), since AMQP has no method for it.
"""
from __future__ import annotations

from typing import Any

from shared.documents import Priority

RUN_EXCHANGE = "mc.run.v1"
CONTROL_EXCHANGE = "mc.control.v1"
DEAD_QUEUE = "mc.dead.v1"
UPLOADS_EXCHANGE = UPLOADS_QUEUE = "mc.uploads.v1"  # what object stores publish when an object arrives
EVENTS_EXCHANGE = "mc.events.v1"  # every event of every task, for whoever binds a queue
EVENTS_TURN_QUEUE = "mc.events-turn.v1"  # who holds it publishes the events; nothing is ever sent to it
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

DELIVERY_LIMIT = 20  # RabbitMQ 4's own default; requeues, rejects and crashes of a consumer all count
DEAD_LENGTH = 10_000  # the oldest go: they are kept for people to look at

# For each queue of ours. A doorbell has some 250 bytes. A full run queue refuses the next doorbell, which is then owed
# (`worker.sweeper`); the dead queue drops its oldest.
QUEUE_BYTES = 64 << 20
POLICY = ("mc-limits", r"^mc\.")

# To the dead queue by the default exchange, which cannot be deleted nor lose a binding.
TO_DEAD_QUEUE = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD_QUEUE}

# At-least-once dead-lettering needs reject-publish (rabbitmq.com/docs/quorum-queues#activating-at-least-once).
RUN_QUEUE_ARGUMENTS = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT, "x-overflow": "reject-publish",
                       "x-dead-letter-strategy": "at-least-once", **TO_DEAD_QUEUE}

# A full one refuses the event, and the object store keeps it. An event goes back to the queue as long as store or files
# are away, which may be days: a limit of deliveries that is never reached (RabbitMQ 3.10 takes -1 for none at all).
UPLOADS_QUEUE_ARGUMENTS = {"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": 1_000_000_000}

Declaration = tuple[str, dict[str, Any]]


def run_queue(platform: str, priority: Priority) -> str:
    return f"mc.run.{platform}.{priority}.v1"


def run_key(platform: str, priority: Priority) -> str:
    return f"{platform}.{priority}"


def control_key(task_id: str) -> str:
    return f"task.{task_id}"


def event_key(event_type: str) -> str:
    return f"task.{event_type}"


def common_declarations() -> list[Declaration]:
    """What every publisher and subscriber needs."""
    return [
        ("exchange_declare", {"exchange": RUN_EXCHANGE, "exchange_type": "direct", "durable": True}),
        ("exchange_declare", {"exchange": CONTROL_EXCHANGE, "exchange_type": "topic", "durable": True}),
        ("queue_declare", {"queue": DEAD_QUEUE, "durable": True,
                           "arguments": {"x-queue-type": "quorum", "x-max-length": DEAD_LENGTH}}),
    ]


def platform_declarations(platform: str) -> list[Declaration]:
    """A target's queues, one a priority (a quorum queue refuses `x-max-priority`), and their bindings."""
    declarations: list[Declaration] = []
    for priority in PRIORITIES:
        queue = run_queue(platform, priority)
        declarations += [
            ("queue_declare", {"queue": queue, "durable": True, "arguments": RUN_QUEUE_ARGUMENTS}),
            ("queue_bind", {"queue": queue, "exchange": RUN_EXCHANGE, "routing_key": run_key(platform, priority)}),
        ]
    return declarations


def control_declarations(queue: str) -> list[Declaration]:
    """A worker's own queue; it goes with the worker's connection."""
    return [("queue_declare", {"queue": queue, "exclusive": True, "auto_delete": True, "arguments": TO_DEAD_QUEUE})]


def uploads_declarations() -> list[Declaration]:
    """Whoever publishes may declare the exchange too, as MinIO does before each event: with other arguments than these
    it would be refused."""
    return [
        ("exchange_declare", {"exchange": UPLOADS_EXCHANGE, "exchange_type": "fanout", "durable": True}),
        ("queue_declare", {"queue": UPLOADS_QUEUE, "durable": True, "arguments": UPLOADS_QUEUE_ARGUMENTS}),
        ("queue_bind", {"queue": UPLOADS_QUEUE, "exchange": UPLOADS_EXCHANGE}),
    ]


def events_declarations() -> list[Declaration]:
    """Not among the common ones: where somebody has made an exchange of this name with other arguments, only the events
    wait for it."""
    return [("exchange_declare", {"exchange": EVENTS_EXCHANGE, "exchange_type": "topic", "durable": True})]


def declare(channel: Any, declarations: list[Declaration]) -> None:
    """Apply them. A blocking channel waits for each; on an asynchronous one they go out in order without an answer,
    so that what is published next on it finds them done."""
    for method, arguments in declarations:
        getattr(channel, method)(**arguments)
