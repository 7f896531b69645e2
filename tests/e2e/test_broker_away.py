"""The broker buys latency, not correctness."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.test_service import CLASSIFIER, upload
from tests.fixtures.rabbitmq import PrivateBroker
from tests.fixtures.services import Service


def test_a_task_created_while_the_broker_is_down_runs_before_it_is_back_and_later_ones_after(
        mongo_url: str, minio_url: str, bucket: str, private_broker: PrivateBroker,
        make_service: Callable[..., Service], models: dict[str, Path]) -> None:
    service = make_service(workers=1, store_url=mongo_url, files_url=minio_url, cache_bucket=bucket,
                           queue_url=private_broker.url)
    path = upload(service, models[CLASSIFIER], "models/classifier.onnx")
    private_broker.server.kill()
    started = time.monotonic()
    task_id = service.convert(path, parameters={"input_shape": [1, 3, 48, 160]})
    assert time.monotonic() - started < 2.0
    assert service.finish([task_id], 30)[0]["status"] == "completed"
    private_broker.start()
    service.wait(service.ready, 30)
    later = [service.convert(path, parameters={"input_shape": [1, 3, 48, 164 + 4 * n]}) for n in range(4)]
    assert {task["status"] for task in service.finish(later, 30)} == {"completed"}
