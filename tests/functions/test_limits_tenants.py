"""A tenant's limits are its own: what one has used up, another still has."""
from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from infra.servers.base import Server
from shared.documents import Status
from shared.store import Store, TaskFilter
from tests.functions.access import make_key
from tests.functions.service import serve_gateway

CREATE = {"task_type": "onnx_to_om", "platform": "huawei", "input_path": "models/input.onnx",
          "parameters": {"soc_version": "Ascend310B1"}}
CLIENTS, MOST = 25, 6  # of each tenant


@pytest.fixture
def gateway_with_keys(data_dir: Path, tmp_path: Path) -> Iterator[Server]:
    server = serve_gateway(tmp_path, dict(os.environ) | {
        "MODEL_CONVERT_AUTH": "keys", "MODEL_CONVERT_PREFLIGHT": "false",
        "MODEL_CONVERT_LIMIT_WAITING_TASKS": str(MOST)}, "--processes", "2", "--threads", "16")
    yield server
    server.stop()


def test_two_tenants_at_once_have_as_many_waiting_tasks_each(gateway_with_keys: Server, store: Store) -> None:
    keys = {tenant: make_key(store, tenant, prefixes=["models/"]).headers for tenant in ("acme", "umbrella")}

    def create(tenant: str) -> int:
        return requests.post(f"{gateway_with_keys.url}/tasks/create", json=CREATE, headers=keys[tenant],
                             timeout=120).status_code

    with ThreadPoolExecutor(2 * CLIENTS) as pool:
        answers = list(pool.map(create, ["acme", "umbrella"] * CLIENTS))
    for number, tenant in enumerate(keys):
        assert sorted(answers[number::2]) == [200] * MOST + [429] * (CLIENTS - MOST)
        assert store.list_page(TaskFilter(status=Status.PENDING, tenant=tenant), 1, 1)[1] == MOST


def test_two_keys_of_a_tenant_have_one_share(gateway_with_keys: Server, store: Store) -> None:
    keys = [make_key(store, "acme", prefixes=["models/"]).headers for _ in range(2)]
    answers = [requests.post(f"{gateway_with_keys.url}/tasks/create", json=CREATE, headers=keys[number % 2],
                             timeout=120).status_code for number in range(MOST + 2)]
    assert answers == [200] * MOST + [429] * 2


def test_a_floods_refusals_take_nothing_from_another_tenant(data_dir: Path, tmp_path: Path, store: Store) -> None:
    server = serve_gateway(tmp_path, dict(os.environ) | {
        "MODEL_CONVERT_AUTH": "keys", "MODEL_CONVERT_LIMIT_REQUESTS_PER_S": "3"}, "--processes", "2")
    keys = {tenant: make_key(store, tenant, prefixes=["models/"]).headers for tenant in ("acme", "umbrella")}

    def ask(tenant: str) -> int:
        return requests.post(f"{server.url}/tasks/list", json={}, headers=keys[tenant], timeout=120).status_code

    try:
        with ThreadPoolExecutor(16) as pool:
            flood = list(pool.map(ask, ["acme"] * 60))
            assert [ask("umbrella") for _ in range(3)] == [200] * 3
    finally:
        server.stop()
    assert flood.count(200) >= 3 and set(flood) <= {200, 429}
