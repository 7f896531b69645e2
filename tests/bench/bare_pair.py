"""The other side of a create request: one insert and one confirmed publish, and nothing else.

As an HTTP function (`create`), and as a plain loop (`python bare_pair.py SECONDS` prints how many a second). Uses the
drivers alone, as a small script would: a MongoDB client for the process, a RabbitMQ connection for each thread. The
document, its durability, the queue's kind and the message are those of the service.
"""
from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from functools import lru_cache
from typing import Any

import flask
import pika
import pymongo
from pymongo.collection import Collection

QUEUE = "bench.pair"

connections = threading.local()


def declare_queue(url: str) -> None:
    """Once, before the first publish."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})


@lru_cache(maxsize=1)
def tasks() -> Collection[dict[str, Any]]:
    client = pymongo.MongoClient(os.environ["BENCH_STORE_URL"], journal=True)
    return client.get_default_database().bare_tasks


@lru_cache(maxsize=1)
def template() -> dict[str, Any]:
    return json.loads(os.environ["BENCH_DOCUMENT"])


def channel() -> pika.adapters.blocking_connection.BlockingChannel:
    if not hasattr(connections, "channel"):
        parameters = pika.URLParameters(os.environ["BENCH_QUEUE_URL"])
        parameters.heartbeat = 0  # between two rounds nobody answers heartbeats
        connections.channel = pika.BlockingConnection(parameters).channel()
        connections.channel.confirm_delivery()
    return connections.channel


def insert_and_publish() -> str:
    task_id = f"task_{int(time.time())}_{os.urandom(5).hex()}"
    tasks().insert_one(template() | {"_id": task_id})
    message = {"v": 1, "type": "run_task", "task_id": task_id, "epoch": 0, "msg_id": os.urandom(16).hex(),
               "created_at": time.time(), "platform": "intel", "priority": "normal"}
    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    channel().basic_publish("", QUEUE, json.dumps(message).encode(), properties, mandatory=True)
    return task_id


def create(request: flask.Request) -> dict[str, Any]:
    if request.method == "GET":  # is it up?
        return {}
    request.get_json()
    return {"success": True, "data": {"task_id": insert_and_publish(), "status": "pending"}}


def loop(seconds: float) -> float:
    """Pairs a second, one after another."""
    insert_and_publish()
    begun = time.perf_counter()
    for count in itertools.count():
        passed_s = time.perf_counter() - begun
        if passed_s >= seconds:
            return count / passed_s
        insert_and_publish()
    raise AssertionError


if __name__ == "__main__":
    print(loop(float(sys.argv[1])))
