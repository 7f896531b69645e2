"""The broker buys latency, not correctness."""
from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pika

from shared.queue.topology import declare, events_declarations
from tests.e2e.test_service import CLASSIFIER, upload
from tests.fixtures.rabbitmq import PrivateBroker
from tests.fixtures.services import Service


def test_a_task_created_while_the_broker_is_down_runs_before_it_is_back_and_later_ones_after(
        mongo_url: str, minio_url: str, bucket: str, private_broker: PrivateBroker,
        make_service: Callable[..., Service], models: dict[str, Path]) -> None:
    service = make_service(workers=1, store_url=mongo_url, files_url=minio_url, cache_bucket=bucket,
                           queue_url=private_broker.url, dependency_timeout_s="3")
    path = upload(service, models[CLASSIFIER], "models/classifier.onnx")
    private_broker.server.kill()
    started = time.monotonic()
    task_id = service.convert(path, parameters={"input_shape": [1, 3, 48, 160]})
    assert time.monotonic() - started < 20  # the broker is away until the test starts it
    assert service.finish([task_id])[0]["status"] == "completed"
    private_broker.start()
    service.wait(service.ready)
    later = [service.convert(path, parameters={"input_shape": [1, 3, 48, 164 + 4 * n]}) for n in range(4)]
    assert {task["status"] for task in service.finish(later)} == {"completed"}


def test_who_listens_at_the_broker_gets_every_event_of_a_task_though_the_broker_was_away(
        mongo_url: str, minio_url: str, bucket: str, private_broker: PrivateBroker,
        make_service: Callable[..., Service], models: dict[str, Path]) -> None:
    with pika.BlockingConnection(pika.URLParameters(private_broker.url)) as connection:
        channel = connection.channel()
        declare(channel, events_declarations())
        channel.queue_declare("listener", durable=True)
        channel.queue_bind("listener", "mc.events.v1", "task.*")
    service = make_service(workers=2, store_url=mongo_url, files_url=minio_url, cache_bucket=bucket,
                           queue_url=private_broker.url)
    path = upload(service, models[CLASSIFIER], "models/classifier.onnx")
    private_broker.server.kill()
    task_ids = [service.convert(path, parameters={"input_shape": [1, 3, 48, width]}) for width in (160, 168)]
    assert {task["status"] for task in service.finish(task_ids)} == {"completed"}
    private_broker.start()
    task_ids.append(service.convert(path, parameters={"input_shape": [1, 3, 48, 176]}))
    got: dict[str, list[tuple[int, str]]] = {task_id: [] for task_id in task_ids}

    def heard() -> bool:
        with pika.BlockingConnection(pika.URLParameters(private_broker.url)) as connection:
            channel = connection.channel()
            while (message := channel.basic_get("listener", auto_ack=True))[0]:
                event = json.loads(message[2])
                assert message[0].routing_key == event["type"]
                got[event["data"]["task_id"]].append((int(event["id"]), event["type"]))
        return all(events and events[-1][1] == "task.completed" for events in got.values())

    service.wait(heard)
    happened = {task_id: [(event["seq"], f"task.{event['type']}") for event in
                          service.client.call("GET", f"/tasks/{task_id}/events")["events"]] for task_id in task_ids}
    # An event may come twice where a link broke in between, but none is missing, and none comes before its forerunner.
    assert {task_id: list(dict.fromkeys(events)) for task_id, events in got.items()} == happened
