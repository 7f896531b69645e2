"""`callback_url` over HTTP: what create takes and refuses, and what clients see of the announcements."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.servers.base import Server
from shared.deps import close_all
from shared.documents import Announcement, Status, Task
from shared.store import Store, TaskFilter
from tests.functions.service import Caller, call_over_http, serve_gateway
from tests.integration.announcing_kit import SECRET

REQUEST = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/m.onnx"}
URL = "https://example.com/done?token=abc"
SHOWN = "https://example.com/done?…"


@pytest.fixture(scope="module")
def announcing_gateway(data_dir: Path) -> Iterator[Server]:
    server = serve_gateway(data_dir, dict(os.environ) | {"MODEL_CONVERT_CALLBACK_SECRET": SECRET}, "--processes", "1")
    yield server
    server.stop()


@pytest.fixture(params=["alone", "gateway"])
def announcing(request: pytest.FixtureRequest, alone: Caller, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """A service that has a secret."""
    if request.param == "gateway":
        yield call_over_http(request.getfixturevalue("announcing_gateway").url)
        return
    monkeypatch.setenv("MODEL_CONVERT_CALLBACK_SECRET", SECRET)
    close_all()
    yield alone
    monkeypatch.delenv("MODEL_CONVERT_CALLBACK_SECRET")
    close_all()


def create(call: Caller, **fields: Any) -> Any:
    return call("create_task", "POST", "/tasks/create", json=REQUEST | fields, headers={"Accept-Language": "en"})


def query(call: Caller, task_id: str) -> dict[str, Any]:
    return call("query_task", "POST", "/tasks/query", json={"task_id": task_id}).data["task_info"]


def test_a_task_is_created_with_it_and_shows_it_without_its_query(announcing: Caller, store: Store) -> None:
    task_id = create(announcing, callback_url=URL).data["task_id"]
    task = store.get(task_id)
    assert task is not None and task.callback_url == URL
    shown = query(announcing, task_id)
    assert (shown["callback_url"], shown["announcements"]) == (SHOWN, [])
    [listed] = announcing("list_tasks", "POST", "/tasks/list", json={}).data["tasks"]
    assert (listed["callback_url"], listed["announcements"]) == (SHOWN, [])


def test_a_task_without_it_has_no_field_of_it(announcing: Caller, store: Store) -> None:
    shown = query(announcing, create(announcing).data["task_id"])
    assert not {"callback_url", "announcements"} & shown.keys()


def test_each_task_of_a_group_has_it(announcing: Caller, store: Store) -> None:
    targets = [{"task_type": "onnx_to_openvino", "platform": "intel"},
               {"task_type": "onnx_to_rknn", "platform": "rockchip", "parameters": {"chip": "rk3588"}}]
    answer = announcing("create_task", "POST", "/tasks/create",
                        json={"input_path": "models/m.onnx", "targets": targets, "callback_url": URL})
    assert [store.get(task["task_id"]).callback_url for task in answer.data["tasks"]] == [URL, URL]


def test_it_is_part_of_what_a_key_stands_for(announcing: Caller, store: Store) -> None:
    first = create(announcing, callback_url=URL, idempotency_key="k").data
    assert create(announcing, callback_url=URL, idempotency_key="k").data == first
    create(announcing, callback_url=URL + "d", idempotency_key="k").assert_error(409, "idempotency_key")
    create(announcing, idempotency_key="k").assert_error(409, "idempotency_key")


@pytest.mark.parametrize("url", [
    "http://example.com/", "ftp://example.com/", "https://a:b@example.com/", "https://127.0.0.1/", "https://[::1]:8/",
    "https://10.0.0.1/", "https://169.254.169.254/latest", "https:///x", "", "https://example.com/" + "x" * 2048, 7])
def test_one_that_is_not_to_be_called_is_refused(announcing: Caller, store: Store, url: object) -> None:
    create(announcing, callback_url=url).assert_error(400, "callback_url")
    announcing("validate_task", "POST", "/tasks/validate", json=REQUEST | {"callback_url": url}).assert_error(
        400, "callback_url")
    assert store.list_page(TaskFilter(), 1, 1)[1] == 0


def test_a_service_without_a_secret_refuses_it_and_says_why(call: Caller, store: Store) -> None:
    create(call, callback_url=URL).assert_error(400, "callback_url", "MODEL_CONVERT_CALLBACK_SECRET")
    call("create_task", "POST", "/tasks/create", json=REQUEST | {"callback_url": URL}).assert_error(
        400, "callback_url", "未设置")


def test_what_has_become_of_each_end_is_shown(announcing: Caller, add: Callable[..., Task]) -> None:
    task = add(status=Status.FAILED, callback_url=URL, announcements=[
        Announcement(id="msg_1", seq=3, type="completed", at=1704110400.0, state="delivered", attempts=2,
                     last_at=1704110460.0, next_at=1704110520.0, answer=204),
        Announcement(id="msg_2", seq=9, type="failed", code="no_such_code_yet", at=1704110400.0, attempts=1,
                     last_at=1704110460.0, next_at=1704110520.0, problem="timeout"),
        Announcement(id="msg_3", seq=12, type="cancelled", code="cancelled", at=1704110400.0)])
    rows = query(announcing, task.id)["announcements"]
    assert rows[0] == {
        "id": "msg_1", "type": "task.completed", "ended_at": "2024-01-01T12:00:00", "state": "delivered",
        "attempts": 2, "last_attempt_at": "2024-01-01T12:01:00", "next_attempt_at": None, "answer": 204,
        "problem": None}
    assert (rows[1]["state"], rows[1]["next_attempt_at"], rows[1]["problem"], rows[1]["code"]) == (
        "owed", "2024-01-01T12:02:00", "timeout", "no_such_code_yet")
    assert (rows[2]["state"], rows[2]["attempts"], rows[2]["next_attempt_at"]) == ("owed", 0, None)
