"""Waiting tasks: at create and retry, for one client and for fifty at once, on every store."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from infra.servers.base import Server
from shared.deps import close_all, get_store
from shared.documents import Status, Task
from shared.store import Store, TaskFilter, open_store
from tests.functions.service import Answer, Caller, call_alone, serve_gateway

pytest_plugins = ["tests.contract.store_backends"]

CLIENTS, MOST = 50, 12
CREATE = {"task_type": "onnx_to_om", "platform": "huawei", "input_path": "models/input.onnx",
          "parameters": {"soc_version": "Ascend310B1"}}
PENDING = TaskFilter(status=Status.PENDING)


@pytest.fixture
def limited(data_dir: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """Functions alone; two tasks may wait."""
    monkeypatch.setenv("MODEL_CONVERT_LIMIT_WAITING_TASKS", "2")
    monkeypatch.setenv("MODEL_CONVERT_PREFLIGHT", "false")
    close_all()
    yield call_alone({})
    monkeypatch.undo()
    close_all()


def create(call: Caller, **fields: object) -> Answer:
    return call("create_task", "POST", "/tasks/create", json=CREATE | fields)


def test_a_task_too_many_is_refused_until_one_has_begun(limited: Caller) -> None:
    first = create(limited).data["task_id"]
    create(limited).data["task_id"]
    refused = create(limited)
    refused.assert_error(429, "MODEL_CONVERT_LIMIT_WAITING_TASKS", "最多 2 个任务等待执行")
    assert refused.headers["Retry-After"] == "10"
    assert get_store().list_page(PENDING, 1, 1)[1] == 2
    limited("cancel_task", "POST", "/tasks/cancel", json={"task_id": first})
    assert create(limited).status == 200 and create(limited).status == 429


def test_a_repeated_request_is_answered_and_takes_no_place(limited: Caller) -> None:
    created = [create(limited, idempotency_key="one"), create(limited)]
    again = create(limited, idempotency_key="one")
    assert again.data["task_id"] == created[0].data["task_id"]


def test_a_retry_needs_room_too(limited: Caller, add: Callable[..., Task]) -> None:
    failed = [add(status="failed").id for _ in range(3)]
    add(status="pending")
    answer = limited("retry_task", "POST", "/tasks/retry", json={"task_ids": failed})
    assert answer.data["results"] == dict(zip(failed, [True, False, False], strict=True))
    assert "MODEL_CONVERT_LIMIT_WAITING_TASKS" in answer.data["reasons"][failed[1]]
    limited("retry_task", "POST", "/tasks/retry", json={"task_id": failed[2]}).assert_error(429, "LIMIT_WAITING_TASKS")


@pytest.mark.parametrize("setting", ["LIMIT_WAITING_TASKS", "LIMIT_ALL_WAITING_TASKS"])
def test_fifty_clients_at_once_store_as_many_as_may_wait(setting: str, store_url: str, data_dir: Path,
                                                         tmp_path: Path) -> None:
    server: Server = serve_gateway(tmp_path, dict(os.environ) | {
        "MODEL_CONVERT_STORE_URL": store_url, f"MODEL_CONVERT_{setting}": str(MOST),
        "MODEL_CONVERT_PREFLIGHT": "false"}, "--processes", "2", "--threads", "16")

    def send(_: int) -> Answer:
        answer = requests.post(f"{server.url}/tasks/create", json=CREATE, timeout=120)
        return Answer(answer.status_code, answer.headers, answer.content)

    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(send, range(CLIENTS)))
    finally:
        server.stop()
    store = open_store(store_url, 60.0)
    assert store.list_page(PENDING, 1, 1)[1] == MOST
    store.close()
    assert sorted(answer.status for answer in answers) == [200] * MOST + [429] * (CLIENTS - MOST)
    for answer in answers:
        if answer.status == 429:
            answer.assert_error(429, setting)
