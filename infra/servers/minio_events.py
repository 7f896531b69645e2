"""The two ways in which MinIO tells of uploads, as its environment: to the broker, and to POST /events/storage.

Both at once is best. The broker has an event within milliseconds; if it is down just then, MinIO forgets the event. The
webhook's directory keeps events until the function has answered, also while MinIO itself is down, but sends them up to
3 seconds late. An upload that is told of twice starts one conversion.
"""
from __future__ import annotations

from pathlib import Path

from shared.queue.topology import UPLOADS_EXCHANGE

ID = "CONVERT"  # of both targets; a bucket's configuration names them by their ARNs
ARNS = {"amqp": f"arn:minio:sqs::{ID}:amqp", "webhook": f"arn:minio:sqs::{ID}:webhook"}


def amqp_environment(url: str) -> dict[str, str]:
    """MinIO declares the exchange before each event: its arguments have to be those of `uploads_declarations`."""
    values = {"ENABLE": "on", "URL": url, "EXCHANGE": UPLOADS_EXCHANGE, "EXCHANGE_TYPE": "fanout", "DURABLE": "on",
              "DELIVERY_MODE": "2",
              "PUBLISHING_CONFIRMS": "on"}  # not PUBLISHER_, as its configuration file has it
    return {f"MINIO_NOTIFY_AMQP_{name}_{ID}": value for name, value in values.items()}


def webhook_environment(endpoint: str, token: str, queue_dir: Path) -> dict[str, str]:
    """`token` is one word: MinIO sends it as a bearer's."""
    values = {"ENABLE": "on", "ENDPOINT": endpoint, "AUTH_TOKEN": token, "QUEUE_DIR": str(queue_dir.resolve())}
    return {f"MINIO_NOTIFY_WEBHOOK_{name}_{ID}": value for name, value in values.items()}
