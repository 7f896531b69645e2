"""(m) From an upload that is finished to the beginning of the first stage, by either of MinIO's ways to tell of it; and
how long one pass of the sweep takes over objects that no event has told of.

The webhook has no queue directory here: with one MinIO sends an event up to 3 seconds late. No worker runs beside the
passes, so that they alone are measured. The first pass makes a task for each object, the second finds that there is
nothing to do. In a folder a file counts once it has stood still for a second; the pass that sees it first is not
measured.
"""
from __future__ import annotations

import json
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from minio import Minio

from infra.bucket_events import set_up
from infra.models import fetch_models
from infra.servers import minio
from infra.servers.base import free_port
from infra.servers.minio_events import amqp_environment, webhook_environment
from shared.documents import TERMINAL, Status, Task
from shared.files.minio_http import S3Connection
from shared.store import TaskFilter
from shared.triggers.rule_file import get_rules
from tests.bench.context import Bench
from tests.bench.figures import Bound, Line, Series
from tests.bench.models import CLASSIFIER, INTEL, shape_parameter
from tests.bench.service import STORE_TIMEOUT_S, Service, open_service
from tests.integration.toy_models import small_model

BUCKET = "models-in"  # of the built-in rule
SHAPE = [1, 3, 48, 192]
EVENT_MS, PASS_S = 100.0, 10.0
AT_ONCE = 16  # uploads for the sweep
PASS = Path(__file__).parent / "scripts" / "sweep_pass.py"
TOKEN = "MODEL_CONVERT_EVENTS_TOKEN"


def run(bench: Bench) -> list[Line]:
    folder = bench.folder / "uploads"
    return [*_events(bench, folder), *_passes(bench, folder)]


# --- events -----------------------------------------------------------------------------------------------------------


def _events(bench: Bench, folder: Path) -> list[Line]:
    samples: dict[str, list[float]] = {}
    for way in ("amqp", "webhook"):
        with _telling(bench, folder / way, way) as (service, client):
            upload_to_stage_ms(service, client)  # fills the cache and opens the connections
            bench.tell(f"(m) {bench.sizes.latency_tries} uploads, told of by {way}")
            samples[way] = [upload_to_stage_ms(service, client) for _ in range(bench.sizes.latency_tries)]
    return [Line("m", f"upload to first stage, {way}, {label}", "ms", Series(tuple(samples[way]), quantile),
                 bound=Bound(EVENT_MS) if quantile == 0.5 else None)
            for way in samples for label, quantile in (("p50", 0.5), ("p99", 0.99))]


@contextmanager
def _telling(bench: Bench, folder: Path, way: str) -> Iterator[tuple[Service, Minio]]:
    """A service with an idle worker, and a MinIO of its own that tells of uploads by one way; and the client of it."""
    urls, token, gateway_port = bench.servers.fresh_urls(), secrets.token_hex(16), free_port()
    told = amqp_environment(urls["MODEL_CONVERT_QUEUE_URL"]) if way == "amqp" else {
        name: value for name, value in webhook_environment(
            f"http://127.0.0.1:{gateway_port}/events/storage", token, folder).items() if "QUEUE_DIR" not in name}
    server = minio.start(folder / "minio", environment=told, log=bench.tell)
    try:
        with open_service("service", folder / "service", bench.servers, gateway_port=gateway_port, settings={
                **urls, "MODEL_CONVERT_FILES_URL": server.url, TOKEN: token,
                "MODEL_CONVERT_TRIGGERS_EVERY_S": "3600"}) as service:  # the sweep finds nothing first
            assert service.gateway_port == gateway_port  # it has started then
            set_up(server.url, urls["MODEL_CONVERT_QUEUE_URL"], [way], get_rules())
            service.start_worker()
            yield service, S3Connection(server.url, STORE_TIMEOUT_S).streams
    finally:
        server.stop()


def upload_to_stage_ms(service: Service, client: Minio) -> float:
    """One upload, from its end to the document's own `started_at`; returns when the worker is idle again."""
    time.sleep(random.uniform(0.2, 0.3))
    name = f"{INTEL.platform}/{secrets.token_hex(8)}/{CLASSIFIER}.onnx"
    client.fput_object(BUCKET, name, str(fetch_models()[CLASSIFIER]),
                       metadata={"parameters": json.dumps({"input_shape": shape_parameter(SHAPE)})})
    finished_at = time.time()
    task = _wait(lambda: _ended(service, f"{BUCKET}/{name}"), 60.0)
    if task.status is not Status.COMPLETED or task.started_at is None:
        raise RuntimeError(f"the upload's task failed: {task.error}")
    return (task.started_at - finished_at) * 1000


def _ended(service: Service, path: str) -> Task | None:
    page, _ = service.store.list_page(TaskFilter(), 1, 1)
    return next((task for task in page if isinstance(task, Task) and task.input_path == path
                 and task.status in TERMINAL), None)


def _wait(find: Callable[[], Task | None], timeout_s: float) -> Task:
    deadline = time.monotonic() + timeout_s
    while (found := find()) is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no event came within {timeout_s:.0f} s")
        time.sleep(0.02)
    return found


# --- the sweep --------------------------------------------------------------------------------------------------------


def _passes(bench: Bench, folder: Path) -> list[Line]:
    """Each upload is a model of its own, so that nothing that is known of one helps with another."""
    count = bench.sizes.uploads
    server = minio.start(folder / "sweep", log=bench.tell)
    try:
        with open_service("service", folder / "swept", bench.servers,
                          settings={"MODEL_CONVERT_FILES_URL": server.url}) as service:
            client = S3Connection(server.url, STORE_TIMEOUT_S).streams
            client.make_bucket(BUCKET)
            bench.tell(f"(m) {count} uploads for the sweep")

            def put(number: int) -> None:
                model = small_model(1.0 + number)
                client.put_object(BUCKET, _name(number), BytesIO(model), len(model))

            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(put, range(count)))
            lines = _new_and_known(service, count, PASS_S)
    finally:
        server.stop()
    with open_service("embedded", folder / "swept-embedded", bench.servers) as service:
        bench.tell(f"(m) {count} files for the sweep")
        for number in range(count):
            path = folder / "swept-embedded" / "buckets" / BUCKET / _name(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(small_model(1.0 + number))
        return lines + _new_and_known(service, count, None)


def _name(number: int) -> str:
    return f"{INTEL.platform}/{number // 100}/{number}.onnx"


def _new_and_known(service: Service, count: int, most_s: float | None) -> list[Line]:
    """Raises RuntimeError where a pass has made other tasks than one for each upload, once."""
    first, second = (_pass(service) for _ in range(2))
    if (first["new"], second["new"]) != (count, 0):
        raise RuntimeError(f"the sweep made {first['new']} and then {second['new']} tasks of {count} uploads")
    bound = Bound(most_s) if most_s else None
    return [Line("m", f"{service.profile}: sweep, {count} {kind} uploads in one pass", "s", Series((one["seconds"],)),
                 bound=bound) for kind, one in (("new", first), ("known", second))]


def _pass(service: Service) -> dict[str, Any]:
    """One pass in a process of its own, with the service's settings."""
    done = subprocess.run([sys.executable, PASS], env=service.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return dict(json.loads(done.stdout))
