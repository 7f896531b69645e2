"""Strangers' pages: alone and behind the gateway, at functions, at pages, at paths that are nobody's and at uploads."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from infra.servers.base import Server
from shared.deps import close_all
from shared.documents import Task
from shared.store import Store
from tests.functions.service import Answer, Caller, call_alone

PAGE = "https://console.example.com"
REBOUND = {"Host": "evil.example:8000"}
CREATE = {"task_type": "onnx_to_om", "platform": "huawei", "input_path": "models/input.onnx"}
UPLOAD = "/uploads/token/bucket/model.onnx"


def sent_to(server: Server, method: str, path: str, **options: Any) -> Answer:
    answer = requests.request(method, server.url + path, timeout=60, **options)
    return Answer(answer.status_code, answer.headers, answer.content)


@pytest.mark.parametrize(("name", "method", "path"), [
    ("list_tasks", "POST", "/tasks/list"), ("list_tasks", "OPTIONS", "/tasks/list"), ("health", "GET", "/health"),
    ("get_task_status", "GET", "/tasks/x/status")])
def test_a_function_on_loopback_does_not_answer_to_a_strangers_name(call: Caller, name: str, method: str,
                                                                    path: str) -> None:
    call(name, method, path, headers=REBOUND).assert_error(403, "evil.example:8000", "MODEL_CONVERT_HOSTS")


def test_the_refusal_is_told_in_english_too(call: Caller) -> None:
    call("health", "GET", "/health", headers=REBOUND | {"Accept-Language": "en"}).assert_error(
        403, "this is no name of the service")


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/docs"), ("GET", "/redoc"), ("GET", "/openapi.json"), ("GET", "/docs/assets/swagger-ui.css"),
    ("GET", "/nowhere"), ("DELETE", "/docs"), ("PUT", UPLOAD), ("OPTIONS", UPLOAD)])
def test_nothing_else_at_the_gateway_answers_to_it_either(gateway: Server, method: str, path: str) -> None:
    answer = sent_to(gateway, method, path, headers=REBOUND)
    answer.assert_error(403, "evil.example:8000")
    assert answer.headers["X-Request-Id"] and answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_of_another_host_changes_nothing(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    """Such a request needs no preflight where it pretends to be a form."""
    task = add(status="failed")
    stranger = {"Origin": "https://evil.example"}
    form = stranger | {"Content-Type": "text/plain"}
    refused = [call("create_task", "POST", "/tasks/create", json=CREATE, headers=stranger),
               call("create_task", "POST", "/tasks/create", data="{}", headers=form),
               call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": [task.id]},
                    headers=stranger)]
    for answer in refused:
        answer.assert_error(403, "https://evil.example", "MODEL_CONVERT_CORS_ORIGINS")
    assert store.get(task.id) == task


def test_a_page_of_another_host_uploads_nothing(gateway: Server) -> None:
    sent_to(gateway, "PUT", UPLOAD, data=b"x", headers={"Origin": "https://evil.example"}).assert_error(
        403, "https://evil.example")


def test_a_page_of_the_gateway_itself_may(gateway: Server) -> None:
    assert sent_to(gateway, "POST", "/tasks/list", json={}, headers={"Origin": gateway.url}).status == 200


def assert_shared(answer: Answer) -> None:
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "Origin" in answer.headers["Vary"] and "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


def test_a_named_page_reads_answers_and_errors(serve: Callable[..., Server], store: Store) -> None:
    server = serve("--processes", "1", cors_origins=PAGE)
    ours = {"Origin": PAGE}
    wanted = {("POST", "/tasks/list"): 200, ("GET", "/tasks/none/status"): 404, ("GET", "/openapi.json"): 200,
              ("GET", "/nowhere"): 404, ("DELETE", "/tasks/list"): 405, ("PUT", UPLOAD): 403}
    for (method, path), status in wanted.items():
        answer = sent_to(server, method, path, json={}, headers=ours)
        assert answer.status == status, (method, path, answer.body)
        assert_shared(answer)
    stranger = sent_to(server, "GET", "/tasks/none/status", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers and "Origin" in stranger.headers["Vary"]


@pytest.mark.parametrize(("path", "methods"), [
    ("/tasks/create", "POST, OPTIONS"), ("/tasks/x/status", "GET, HEAD, OPTIONS"), (UPLOAD, "PUT, OPTIONS")])
def test_a_named_page_is_told_before_it_sends(serve: Callable[..., Server], path: str, methods: str) -> None:
    server = serve("--processes", "1", cors_origins=PAGE)
    answer = sent_to(server, "OPTIONS", path, headers={
        "Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
    assert answer.status == 204 and answer.headers["Access-Control-Allow-Methods"] == methods
    assert "Content-Type" in answer.headers["Access-Control-Allow-Headers"]
    assert_shared(answer)


def test_a_function_alone_does_the_same(data_dir: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_CORS_ORIGINS", PAGE)
    close_all()
    try:
        call = call_alone({})
        asked = call("list_tasks", "OPTIONS", "/tasks/list", headers={
            "Origin": PAGE, "Access-Control-Request-Method": "POST"})
        assert asked.status == 204 and asked.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
        for answer in (asked, call("list_tasks", "POST", "/tasks/list", json={}, headers={"Origin": PAGE})):
            assert_shared(answer)
    finally:
        monkeypatch.undo()
        close_all()
