"""What the Makefile's targets run, as a user sees it."""
from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openvino
import pytest

from infra.client import Client
from infra.servers.base import free_port
from shared.store import open_store
from tests.fixtures.services import INTEL_ALONE, Service, known_workers, processes_that_mention

Served = tuple[subprocess.Popen[bytes], Client, Path]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Without the settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MODEL_CONVERT_")}


def test_the_demo_converts_a_real_model_and_leaves_no_process(tmp_path: Path, environment: dict[str, str]) -> None:
    data_dir = tmp_path / "demo"
    demo = subprocess.run([sys.executable, "-m", "infra.demo", "--data", data_dir], env=environment,
                          capture_output=True, text=True, timeout=400)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for stage in ("fetch", "inspect", "optimize", "reference", "prepare", "compile", "verify", "publish"):
        assert re.search(rf"^  {stage} +\d+\.\d\d s$", demo.stdout, re.MULTILINE), demo.stdout
    assert float(re.search(r"cosine (\d\.\d+)", demo.stdout)[1]) > 0.999
    artefact = re.search(r"artefact +(\S+\.xml)$", demo.stdout, re.MULTILINE)[1]
    assert openvino.Core().read_model(artefact).input(0).shape == openvino.Shape([1, 3, 480, 480])
    Service.wait(lambda: not processes_that_mention(str(data_dir)))


@pytest.fixture
def served(tmp_path: Path, environment: dict[str, str]) -> Iterator[Served]:
    port, data_dir = free_port(), tmp_path / "data"
    process = subprocess.Popen([sys.executable, "-m", "infra.serve", "--port", str(port), "--data", data_dir,
                                "--workers", "2"], env=environment | INTEL_ALONE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    client = Client(f"http://127.0.0.1:{port}", timeout_s=60.0)
    client.wait_until_healthy(120)
    Service.wait(lambda: len(known_workers(client)) == 2, 120)
    yield process, client, data_dir
    process.terminate()  # killed, it would leave its children behind
    process.wait(120)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_whole_and_soon(served: Served, number: signal.Signals) -> None:
    process, _, data_dir = served
    process.send_signal(number)
    process.wait(90)  # it waits for nothing: 2 s on a quiet machine
    Service.wait(lambda: not processes_that_mention(str(data_dir)))


def test_serve_replaces_a_worker_that_was_killed(served: Served) -> None:
    _, client, _ = served
    first = known_workers(client).pop()
    os.kill(first, signal.SIGKILL)
    Service.wait(lambda: len(known_workers(client) - {first}) == 2, 120)


def test_up_starts_the_real_servers_and_down_ends_them_and_keeps_the_data(
        tmp_path: Path, environment: dict[str, str]) -> None:
    port, data_dir = free_port(), tmp_path / "service"

    def run(action: str) -> str:
        return subprocess.run([sys.executable, "-m", "infra.up", action, "--data", data_dir, "--port", str(port)],
                              env=environment, stdout=subprocess.PIPE, text=True, timeout=280, check=True).stdout
    client = Client(f"http://127.0.0.1:{port}", timeout_s=60.0)
    try:
        said = run("up")
        assert (data_dir / "worker-0.log").exists()
        assert "mongo" in said and "rabbitmq" in said and "minio" in said
        task_id = client.create_task(task_type="onnx_to_openvino", platform="intel", input_path="models/none.onnx")
        Service.wait(lambda: client.query_task(task_id)["status"] == "failed")
        assert client.query_task(task_id)["error"]["code"] == "input_not_found"
        run("down")
        Service.wait(lambda: not processes_that_mention(str(data_dir)))
        run("up")
        assert client.query_task(task_id)["error"]["code"] == "input_not_found"
    finally:
        run("down")
    with pytest.raises(Exception, match="refused"):
        client.query_task(task_id)


def test_up_takes_the_servers_that_the_environment_names_and_down_leaves_them_alone(
        tmp_path: Path, environment: dict[str, str], mongo_url: str, amqp_url: str, minio_url: str) -> None:
    port, data_dir = free_port(), tmp_path / "service"
    named = {"STORE": mongo_url, "QUEUE": amqp_url, "FILES": minio_url}
    environment |= INTEL_ALONE | {f"MODEL_CONVERT_{name}_URL": url for name, url in named.items()}

    def run(action: str) -> None:
        subprocess.run([sys.executable, "-m", "infra.up", action, "--data", data_dir, "--port", str(port)],
                       env=environment, stdout=subprocess.DEVNULL, timeout=280, check=True)
    try:
        run("up")
        client = Client(f"http://127.0.0.1:{port}", timeout_s=60.0)
        task_id = client.create_task(task_type="onnx_to_openvino", platform="intel", input_path="models/none.onnx")
        Service.wait(lambda: client.query_task(task_id)["status"] == "failed")
    finally:
        run("down")
    Service.wait(lambda: not processes_that_mention(str(data_dir)))
    assert not [name for name in ("mongo", "rabbitmq", "minio") if (data_dir / name).exists()]
    task = open_store(mongo_url, 5.0).get(task_id)
    assert task is not None and task.error is not None and task.error.code == "input_not_found"
