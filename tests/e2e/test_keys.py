"""A whole service where keys are needed: two tenants, from a key to a result."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.client import ApiError, Client
from infra.processes import embedded_environment
from infra.servers.base import free_port
from tests import models
from tests.fixtures.services import Service, processes_that_mention

TIMEOUT_S = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_CONVERT_")}
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - clean.keys():
            patch.delenv(name)
        return embedded_environment(tmp_path / "data") | {"MODEL_CONVERT_AUTH": "keys"}


@pytest.fixture
def url(tmp_path: Path, environment: dict[str, str]) -> Iterator[str]:
    port, data_dir = free_port(), tmp_path / "data"
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "infra.serve", "--port", str(port), "--data", data_dir],
                                   env=environment, stdout=log, stderr=log)
    Client(f"http://127.0.0.1:{port}", timeout_s=TIMEOUT_S).wait_until_healthy(120)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(120)
    Service.wait(lambda: not processes_that_mention(str(data_dir)))


def key_of(tenant: str, environment: dict[str, str]) -> str:
    made = subprocess.run([sys.executable, "-m", "infra.keys", "create", "--tenant", tenant, "--scopes", "read,write",
                           "-o", "json"], env=environment, capture_output=True, text=True, timeout=120, check=True)
    return str(json.loads(made.stdout)["key"])


def bring(client: Client, model: bytes) -> str:
    upload: dict[str, Any] = client.call("POST", "/uploads", {"file_name": "m.onnx", "size_bytes": len(model)})
    (file,) = upload["files"]
    requests.put(file["url"], data=model, headers=file["headers"], timeout=TIMEOUT_S).raise_for_status()
    return str(upload["input_path"])


def test_two_tenants_convert_side_by_side_and_see_nothing_of_each_other(
        url: str, environment: dict[str, str], tmp_path: Path) -> None:
    keys = {tenant: key_of(tenant, environment) for tenant in ("acme", "other")}
    clients = {tenant: Client(url, timeout_s=TIMEOUT_S, key=key) for tenant, key in keys.items()}
    with pytest.raises(ApiError, match="401"):
        Client(url, timeout_s=TIMEOUT_S).call("GET", "/platforms")
    model = models.convolution().SerializeToString()
    tasks = {tenant: client.create_task(task_type="onnx_to_openvino", platform="intel", input_path=bring(client, model),
                                        parameters={"input_shape": "1,3,32,32"})
             for tenant, client in clients.items()}
    for tenant, client in clients.items():
        Service.wait(lambda client=client, tenant=tenant: client.query_task(tasks[tenant])["status"] in (
            "completed", "failed"), 240)
        done = client.query_task(tasks[tenant])
        assert done["status"] == "completed", done["error"]
        assert done["output_path"] == f"results/tenant-{tenant}/{tasks[tenant]}/m.xml"
        assert not any(stage["cached"] for stage in done["stages"])  # a hit would tell of the other tenant's model
        listed = client.call("GET", f"/tasks/{tasks[tenant]}/files")["files"]
        assert {file["state"] for file in listed} == {"ready"}
        content = requests.get(f"{url}{listed[0]['download_path']}", timeout=TIMEOUT_S,
                               headers={"Authorization": f"Bearer {keys[tenant]}"})
        assert content.status_code == 200 and content.content
        assert client.call("POST", "/tasks/list", {})["total"] == 1
        foreign = next(task_id for of, task_id in tasks.items() if of != tenant)
        for path in (f"/tasks/{foreign}/status", f"/tasks/{foreign}/files", f"/tasks/{foreign}/events"):
            with pytest.raises(ApiError, match="404"):
                client.call("GET", path)
    told = (tmp_path / "serve.log").read_text()
    assert not any(key in told for key in keys.values())
    assert not any(key.encode() in path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()
                   for key in keys.values())
