"""An upload to a real MinIO starts its conversion, by either way in which MinIO tells of it, and nothing else does."""
from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
from pika.exceptions import AMQPError

from infra.bucket_events import set_up
from infra.client import Client
from infra.servers import minio
from infra.servers.base import CannotStart, Server, free_port
from infra.servers.minio_events import amqp_environment, webhook_environment
from shared.files import open_files
from shared.files.minio_http import S3Connection
from shared.queue.topology import UPLOADS_QUEUE
from shared.triggers.rules import BUILT_IN, built_in
from tests.e2e.test_service import CLASSIFIER
from tests.fixtures.common import missing
from tests.fixtures.rabbitmq import PrivateBroker
from tests.fixtures.services import FINAL, INTEL_ALONE, Service, processes_that_mention
from tests.fixtures.storage_events import AWKWARD_KEYS
from tests.models import convolution

TOKEN = "a-token-of-the-tests"
NO_SWEEP = {"MODEL_CONVERT_TRIGGERS_EVERY_S": "86400"}  # what is found is found by events


def put(files_url: str, key: str, content: Path, **metadata: str) -> None:
    """As any S3 client does it, and nothing more."""
    connection = S3Connection(files_url, 20.0)
    connection.streams.fput_object(BUILT_IN, key, str(content), metadata=dict(metadata))
    connection.close()


def tasks_of(client: Client) -> list[dict[str, Any]]:
    return client.call("POST", "/tasks/list", {"page": 1, "page_size": 100})["tasks"]


def started_by(log: Path) -> list[str]:
    """The objects that a process has started conversions of, as its log tells."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["object"] for line in lines if line["message"] == "an uploaded object started a conversion"]


# --- make up ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["webhook", "amqp"])
def test_make_up_converts_what_is_uploaded_and_tells_where_the_result_is(
        way: str, tmp_path: Path, mongo_url: str, amqp_url: str, models: dict[str, Path]) -> None:
    port, data_dir = free_port(), tmp_path / "service"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_CONVERT_")}
    environment |= NO_SWEEP | INTEL_ALONE | {"MODEL_CONVERT_STORE_URL": mongo_url, "MODEL_CONVERT_QUEUE_URL": amqp_url}

    def run(action: str) -> None:
        subprocess.run([sys.executable, "-m", "infra.up", action, "--data", data_dir, "--port", str(port),
                        "--events", way], env=environment, stdout=subprocess.DEVNULL, timeout=240, check=True)
    client = Client(f"http://127.0.0.1:{port}", timeout_s=60.0)
    try:
        run("up")
        settings = dict(line.split("=", 1) for line in (data_dir / "service.env").read_text().splitlines())
        (files_url,) = shlex.split(settings["MODEL_CONVERT_FILES_URL"])
        put(files_url, "intel/ocr/分类 1+1.onnx", models[CLASSIFIER],
            parameters=json.dumps({"input_shape": [1, 3, 48, 192]}))
        (task,) = Service.wait(lambda: tasks_of(client))
        Service.wait(lambda: client.query_task(task["id"])["status"] in FINAL, 180)
        task = client.query_task(task["id"])
        assert task["status"] == "completed", task["error"]
        assert task["input_path"] == f"{BUILT_IN}/intel/ocr/分类 1+1.onnx"
        artefact = task["result"]["path"]
        files = open_files(files_url, 5.0)
        for name in (artefact, f"{artefact}.manifest.json", f"{artefact}.report.json"):
            assert files.stat(name), name
        logs = {"webhook": data_dir / "gateway.log", "amqp": data_dir / "worker-0.log"}
        assert {name: len(started_by(log)) for name, log in logs.items()} == {"webhook": 0, "amqp": 0} | {way: 1}
        assert len(tasks_of(client)) == 1  # the results started nothing
        anybody = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", "{}",
                                  f"http://127.0.0.1:{port}/events/storage"], capture_output=True, text=True)
        assert anybody.stdout == "401"
    finally:
        run("down")
    Service.wait(lambda: not processes_that_mention(str(data_dir)))


# --- each way by itself -----------------------------------------------------------------------------------------------


class Told:
    """A gateway and a MinIO that tells of uploads, both of which a test may stop. Nothing converts."""

    def __init__(self, folder: Path, queue_url: str, store_url: str, ways: list[str]) -> None:
        self._data = folder / "minio"
        try:
            self.minio: Server = minio.start(self._data)
        except CannotStart as why:
            missing("MinIO", why)
        self.files_url = self.minio.url
        self.model = folder / "model.onnx"
        self.model.write_bytes(convolution().SerializeToString())
        self.service = Service(folder / "service", NO_SWEEP | {
            "MODEL_CONVERT_STORE_URL": store_url, "MODEL_CONVERT_QUEUE_URL": queue_url,
            "MODEL_CONVERT_FILES_URL": self.files_url, "MODEL_CONVERT_EVENTS_TOKEN": TOKEN,
            "MODEL_CONVERT_PREFLIGHT_S": "5"})
        self.service.wait(self.service.ready)
        self._environment: dict[str, str] = {}
        if "webhook" in ways:
            self._environment |= webhook_environment(
                f"http://127.0.0.1:{self.service.port}/events/storage", TOKEN, folder / "events")
        if "amqp" in ways:
            self._environment |= amqp_environment(queue_url)
        self.restart_minio()
        set_up(self.files_url, queue_url, ways, [built_in()])

    def restart_minio(self) -> None:
        self.minio.kill()
        port = int(self.files_url.rpartition(":")[2])
        self.minio = minio.start(self._data, port=port, environment=self._environment)

    def intake(self) -> subprocess.Popen[bytes]:
        process = self.service._spawn("intake", "worker", "--intake")
        self.service.workers.append(process)
        return process

    def stop_gateway(self) -> None:
        self.service._gateway.send_signal(signal.SIGTERM)
        self.service._gateway.wait(120)

    def start_gateway(self) -> None:
        self.service._gateway = self.service._spawn("gateway-2", "infra.gateway", "--port", str(self.service.port))
        self.service.wait(self.service.ready)

    def kept_events(self) -> list[Path]:
        """What MinIO's directory holds for the webhook."""
        return list((self.model.parent / "events").rglob("*.event"))

    def put(self, *keys: str) -> None:
        for key in keys:
            put(self.files_url, key, self.model)

    def wait_for(self, *keys: str) -> None:
        """Until these uploads have a task each, and nothing else has one."""
        wanted = sorted(f"{BUILT_IN}/{key}" for key in keys)

        def inputs() -> list[str]:
            return sorted(task["input_path"] for task in tasks_of(self.service.client))
        self.service.wait(lambda: len(inputs()) >= len(wanted))
        assert inputs() == wanted

    def stop(self) -> None:
        self.service.stop()
        self.minio.kill()


@pytest.fixture
def told(tmp_path: Path, mongo_url: str) -> Iterator[Callable[..., Told]]:
    made: list[Told] = []

    def told(queue_url: str, *ways: str) -> Told:
        made.append(Told(tmp_path / f"told-{len(made)}", queue_url, mongo_url, list(ways)))
        return made[-1]
    yield told
    for one in made:
        one.stop()


@pytest.mark.parametrize("ways", [["amqp"], ["webhook"], ["amqp", "webhook"]], ids="+".join)
def test_uploads_of_any_name_have_one_task_each(told: Callable[..., Told], amqp_url: str, ways: list[str]) -> None:
    """Told twice, where both ways are open."""
    both = told(amqp_url, *ways)
    if "amqp" in ways:
        both.intake()
    keys = [f"intel/{key}" for key in AWKWARD_KEYS]
    both.put(*keys)
    both.put("intel/readme.txt", "elsewhere/model.onnx", "intel/folder/")
    both.put("intel/last.onnx")
    both.wait_for(*keys, "intel/last.onnx")
    if "amqp" in ways:
        both.service.wait(lambda: waiting(amqp_url) == 0)
    if "webhook" in ways:
        both.service.wait(lambda: not both.kept_events())
    both.wait_for(*keys, "intel/last.onnx")


@pytest.mark.parametrize("way", ["amqp", "webhook"])
def test_what_the_aws_sdk_uploads_is_converted_in_one_piece_and_in_parts(told: Callable[..., Told], amqp_url: str,
                                                                        way: str) -> None:
    """With the checksums that it adds by itself. Its metadata says what the object becomes."""
    import boto3  # half a second, for this test alone
    from boto3.s3.transfer import TransferConfig

    service = told(amqp_url, way)
    if way == "amqp":
        service.intake()
    at = urlsplit(service.files_url)
    s3 = boto3.client("s3", endpoint_url=f"http://{at.hostname}:{at.port}", region_name="us-east-1",
                      aws_access_key_id=at.username, aws_secret_access_key=at.password)
    metadata = {"platform": "intel", "labels": json.dumps({"team": "vision"})}
    s3.put_object(Bucket=BUILT_IN, Key="mine/分类 1+1.onnx", Body=service.model.read_bytes(), Metadata=metadata)
    parts = 5 << 20  # the smallest that S3 takes
    s3.upload_fileobj(io.BytesIO(large_model()), BUILT_IN, "mine/parts.onnx", ExtraArgs={"Metadata": metadata},
                      Config=TransferConfig(multipart_threshold=parts, multipart_chunksize=parts))
    assert s3.head_object(Bucket=BUILT_IN, Key="mine/parts.onnx")["ETag"].endswith('-3"')
    service.wait_for("mine/分类 1+1.onnx", "mine/parts.onnx")
    for task in tasks_of(service.service.client):
        assert (task["platform"], task["labels"]) == ("intel", {"team": "vision"})
        seen = s3.head_object(Bucket=BUILT_IN, Key=task["input_path"].partition("/")[2])
        assert task["source"]["etag"] == seen["ETag"].strip('"')
    s3.close()


def large_model() -> bytes:
    """Of more than two parts."""
    model = convolution()
    model.doc_string = "x" * (11 << 20)
    return model.SerializeToString()


def waiting(url: str) -> int | None:
    try:
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            return connection.channel().queue_declare(UPLOADS_QUEUE, passive=True).method.message_count
    except AMQPError:
        return None


def test_events_wait_for_a_gateway_that_is_down_through_a_kill_of_minio_too(told: Callable[..., Told],
                                                                            amqp_url: str) -> None:
    webhook = told(amqp_url, "webhook")
    webhook.stop_gateway()
    webhook.put("intel/1.onnx", "intel/2.onnx")
    webhook.service.wait(lambda: len(webhook.kept_events()) == 2)  # until then a kill loses them
    webhook.restart_minio()

    def told_again() -> bool:
        """MinIO answers some time before it knows whom to tell."""
        webhook.put("intel/3.onnx")
        return len(webhook.kept_events()) > 2
    webhook.service.wait(told_again)
    webhook.start_gateway()
    webhook.wait_for("intel/1.onnx", "intel/2.onnx", "intel/3.onnx")


def test_events_wait_in_the_broker_for_an_intake_that_is_down(told: Callable[..., Told], amqp_url: str) -> None:
    amqp = told(amqp_url, "amqp")
    amqp.put("intel/1.onnx", "intel/2.onnx")
    amqp.service.wait(lambda: waiting(amqp_url) == 2)
    intake = amqp.intake()
    amqp.wait_for("intel/1.onnx", "intel/2.onnx")
    intake.send_signal(signal.SIGTERM)
    assert intake.wait(120) == 0
    amqp.put("intel/3.onnx")
    amqp.intake()
    amqp.wait_for("intel/1.onnx", "intel/2.onnx", "intel/3.onnx")


def test_uploads_start_conversions_again_after_the_broker_was_down(told: Callable[..., Told],
                                                                   private_broker: PrivateBroker) -> None:
    """By AMQP those after it, by the webhook those while it was down."""
    both = told(private_broker.url, "amqp", "webhook")
    both.intake()
    both.put("intel/1.onnx")
    both.wait_for("intel/1.onnx")
    private_broker.server.stop()
    both.put("intel/2.onnx")
    both.wait_for("intel/1.onnx", "intel/2.onnx")
    private_broker.start()
    log = both.service.data_dir / "intake.log"

    def told_by_the_broker() -> bool:
        both.put("intel/3.onnx")
        return f"{BUILT_IN}/intel/3.onnx" in log.read_text()
    both.service.wait(told_by_the_broker)
    both.wait_for("intel/1.onnx", "intel/2.onnx", "intel/3.onnx")
