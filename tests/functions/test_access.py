"""Who is let in: every endpoint, with every kind of key and without one. What is refused changes nothing."""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.gateway import load_functions
from infra.keys import rotate_key
from infra.servers.base import Server
from shared.access.key_text import new_key_text
from shared.documents import Task
from shared.settings import get_settings
from shared.store import Store
from tests.functions.access import REQUESTS, Named, everything, make_key, with_headers
from tests.functions.service import TIMEOUT_S, Caller, function_client

FUNCTIONS = load_functions()
ENDPOINTS = {name: function.endpoint for name, function in FUNCTIONS.items()}
WITH_KEY = [name for name, about in ENDPOINTS.items() if about.scope and not about.without_key]
EACH_WITH_KEY = [pytest.param(name, number, id=f"{name}-{number}") for name in WITH_KEY
                 for number in range(len(REQUESTS[name]))]


def call_with(guarded: Caller, name: str, number: int, named: Named, headers: dict[str, str]) -> Any:
    path, request = REQUESTS[name][number](named)
    return guarded(name, ENDPOINTS[name].method, path, **with_headers(request, headers))


def wrong_headers(store: Store) -> dict[str, dict[str, str]]:
    """Every way of showing no good key, by what the answer says of it."""
    right = make_key(store)
    expired, revoked = (make_key(store, **{field: time.time() - 1}) for field in ("expires_at", "revoked_at"))
    unknown, cut = new_key_text(), right.text[:-1]
    return {
        "none: 缺少密钥": {}, "empty: 缺少密钥": {"Authorization": ""},
        "no kind: 缺少密钥": {"Authorization": right.text},
        "basic: 缺少密钥": {"Authorization": f"Basic {right.text}"}, "no text: 缺少密钥": {"Authorization": "Bearer "},
        "cut: 格式错误或校验和": {"Authorization": f"Bearer {cut}"},
        "mistyped: 格式错误或校验和": {"Authorization": f"Bearer {right.text[:10]}{'aA'[right.text[10] == 'a']}"
                                                     f"{right.text[11:]}"},
        "two: 格式错误或校验和": {"Authorization": f"Bearer {right.text} {right.text}"},
        "unknown: 密钥无效": {"Authorization": f"Bearer {unknown}"},
        "expired: 密钥已过期": expired.headers, "revoked: 密钥已被吊销": revoked.headers}


def test_every_endpoint_has_requests_here_and_says_which_scope_it_needs() -> None:
    assert REQUESTS.keys() == ENDPOINTS.keys()
    changing = {"batch_delete_tasks", "cancel_task", "complete_upload", "create_task", "create_upload", "pause_task",
                "resume_task", "retry_task"}
    assert {name for name, about in ENDPOINTS.items() if about.scope == "write"} == changing
    assert {name for name, about in ENDPOINTS.items() if about.scope is None} == {"on_upload"}
    assert {name for name, about in ENDPOINTS.items() if about.without_key} == {"health"}


@pytest.mark.parametrize(("name", "number"), EACH_WITH_KEY)
def test_without_a_good_key_nothing_is_told_and_nothing_changed(guarded: Caller, store: Store, add: Callable[..., Task],
                                                                name: str, number: int) -> None:
    task = add(status="running", owner="w", group_id="group_1", tenant="acme")
    before = everything(store)
    for case, headers in wrong_headers(store).items():
        answer = call_with(guarded, name, number, Named(task.id, "group_1"), headers)
        answer.assert_error(401, case.partition(": ")[2])
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), case
        assert ('error="invalid_token"' in answer.headers["WWW-Authenticate"]) is ("缺少" not in case), case
    assert everything(store) == before


@pytest.mark.parametrize(("name", "number"), EACH_WITH_KEY)
def test_a_key_does_what_its_scopes_allow_and_no_more(guarded: Caller, store: Store, add: Callable[..., Task],
                                                      name: str, number: int) -> None:
    task = add(status="running", owner="w", group_id="group_1", tenant="acme")
    scope = ENDPOINTS[name].scope
    before = everything(store)
    for other in [(), *[(one,) for one in ("read", "write", "admin") if one != scope]]:
        answer = call_with(guarded, name, number, Named(task.id, "group_1"), make_key(store, scopes=other).headers)
        answer.assert_error(403, f"密钥没有所需的权限 {scope}")
        assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]
    assert everything(store) == before
    headers = make_key(store, scopes=(scope or "",), prefixes=["*"]).headers
    if "text/event-stream" not in str(REQUESTS[name][number](Named())):
        answer = call_with(guarded, name, number, Named(task.id, "group_1"), headers)
        assert answer.status not in (401, 403, 500), answer.body


def test_a_stream_is_for_who_may_read(closed_gateway: Server, closed: None, store: Store, add: Callable[..., Task]
                                      ) -> None:
    task = add(tenant="acme")
    headers = make_key(store, scopes=("read",)).headers | {"Accept": "text/event-stream"}
    with requests.get(f"{closed_gateway.url}/tasks/{task.id}/events", headers=headers, stream=True,
                      timeout=TIMEOUT_S) as stream:
        assert stream.status_code == 200
        assert next(stream.iter_lines()).startswith(b"retry")


def test_a_stream_ends_with_its_key(closed_gateway: Server, closed: None, store: Store, add: Callable[..., Task]
                                    ) -> None:
    task, made = add(tenant="acme"), make_key(store, scopes=("read",))
    headers = made.headers | {"Accept": "text/event-stream"}
    with requests.get(f"{closed_gateway.url}/tasks/{task.id}/events", headers=headers, stream=True,
                      timeout=TIMEOUT_S) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith(b"retry")
        store.end_key(made.key.id, revoked_at=time.time())
        started = time.monotonic()
        assert list(lines) is not None  # it comes to its end
        assert time.monotonic() - started < 100  # a stream lasts 300 s


def test_a_revoked_key_is_refused_within_seconds(guarded: Caller, store: Store) -> None:
    made = make_key(store, scopes=("read",))
    assert call_with(guarded, "list_tasks", 0, Named(), made.headers).status == 200
    store.end_key(made.key.id, revoked_at=time.time())
    deadline = time.monotonic() + 60
    while (status := call_with(guarded, "list_tasks", 0, Named(), made.headers).status) == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert status == 401


def test_a_rotated_key_is_followed_under_load_without_a_refused_request(closed_gateway: Server, closed: None,
                                                                        store: Store) -> None:
    shown = [make_key(store, scopes=("read",)).text]
    key_id = store.all_keys()[-1].id
    answers: list[int] = []
    over = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not over.is_set():
                answers.append(session.post(f"{closed_gateway.url}/tasks/list", json={}, timeout=TIMEOUT_S, headers={
                    "Authorization": f"Bearer {shown[0]}"}).status_code)

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask) for _ in range(8)]
        try:
            for _ in range(3):
                time.sleep(0.3)
                key, text = rotate_key(key_id, overlap_s=600.0)
                old, shown[0], key_id = shown[0], text, key.id
                time.sleep(0.3)
                assert old != text
        finally:
            over.set()
        for one in asking:
            one.result()
    assert len(answers) > 20 and set(answers) == {200}
    assert sum(1 for key in store.all_keys() if key.name == "key of acme" and key.expires_at) >= 3


def test_a_use_is_noted_once_in_a_while(guarded: Caller, store: Store) -> None:
    made, before = make_key(store, scopes=("read",)), time.time()
    for _ in range(3):
        assert call_with(guarded, "list_platforms", 0, Named(), made.headers).status == 200
    found = store.find_key(made.key.digest)
    assert found is not None and found.last_used_at is not None and before <= found.last_used_at <= time.time()


def test_keys_are_not_asked_of_the_store_for_each_request(alone: Caller, closed: None, store: Store,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked, find = make_key(store, scopes=("read",)), [], store.find_key
    monkeypatch.setattr(store, "find_key", lambda digest: asked.append(digest) or find(digest))
    for _ in range(5):
        call_with(alone, "list_platforms", 0, Named(), made.headers)
        call_with(alone, "list_platforms", 0, Named(), {"Authorization": "Bearer mc_" + "0" * 49})
    assert len(asked) <= 2  # again after some seconds, should this machine be so slow


def test_an_open_service_asks_the_store_for_no_key(alone: Caller, store: Store, monkeypatch: pytest.MonkeyPatch
                                                   ) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("it was asked")

    for method in ("find_key", "all_keys", "note_key_use"):
        monkeypatch.setattr(store, method, fail)
    assert call_with(alone, "list_tasks", 0, Named(), {"Authorization": "Bearer whatever"}).status == 200


# --- what is open -----------------------------------------------------------------------------------------------------


def test_a_probe_is_told_whether_all_is_well_and_an_admin_everything(guarded: Caller, store: Store) -> None:
    assert call_with(guarded, "health", 0, Named(), {}).data == {"dependencies": {}, "unreadable": None}
    reader = make_key(store, scopes=("read", "write"))
    assert call_with(guarded, "health", 0, Named(), reader.headers).data["dependencies"] == {}
    admin = call_with(guarded, "health", 0, Named(), make_key(store, scopes=("admin",)).headers)
    assert set(admin.data["dependencies"]) == {"store", "queue", "files"}
    call_with(guarded, "health", 0, Named(), {"Authorization": "Bearer wrong"}).assert_error(401)


def test_events_of_object_stores_need_their_own_token(guarded: Caller, store: Store) -> None:
    call_with(guarded, "on_upload", 0, Named(), make_key(store).headers).assert_error(401, "MODEL_CONVERT_EVENTS_TOKEN")


def test_a_method_and_a_path_that_are_not_there_are_told_to_anybody(guarded: Caller) -> None:
    guarded("list_tasks", "GET", "/tasks/list").assert_error(405)
    assert guarded("list_tasks", "OPTIONS", "/tasks/list").status == 204
    guarded("list_tasks", "POST", "/tasks/other").assert_error(404, "路径不存在")


def test_the_documents_tell_of_keys_where_they_are_needed(closed_gateway: Server, gateway: Server) -> None:
    closed, opened = (requests.get(f"{server.url}/openapi.json", timeout=TIMEOUT_S).json()
                      for server in (closed_gateway, gateway))
    assert closed["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for about in ENDPOINTS.values():
        operation = closed["paths"][about.path][about.method.lower()]
        before = opened["paths"][about.path][about.method.lower()]
        assert "security" not in before  # 403 is there: a page of another host may be refused anywhere
        if about.scope is None:
            assert "security" not in operation
        else:
            assert operation["security"] == [{"key": [about.scope]}, *[{}] * about.without_key]
            assert {"401", "403"} <= operation["responses"].keys()
    assert "securitySchemes" not in opened["components"]


# --- where a key is needed --------------------------------------------------------------------------------------------


LOCAL = {"SERVER_SOFTWARE": "gunicorn/23", "SERVER_NAME": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1"}


@pytest.mark.parametrize(("environ", "status"), [
    ({}, 200), ({"SERVER_SOFTWARE": "Werkzeug/3", "SERVER_NAME": "::1", "REMOTE_ADDR": "::1"}, 200),
    ({"SERVER_NAME": "0.0.0.0"}, 401), ({"SERVER_NAME": "10.0.0.5"}, 401), ({"REMOTE_ADDR": "10.0.0.7"}, 401),
    ({"SERVER_SOFTWARE": "console/1"}, 401), ({"SERVER_SOFTWARE": ""}, 401),
    ({"HTTP_X_FORWARDED_FOR": "10.0.0.7"}, 401), ({"HTTP_FORWARDED": "for=10.0.0.7"}, 401),
    ({"HTTP_VIA": "1.1 p"}, 401), ({"HTTP_X_REAL_IP": "10.0.0.7"}, 401),
])
def test_a_function_alone_is_open_only_where_its_server_listens_on_loopback(
        data_dir: Path, store: Store, environ: dict[str, str], status: int) -> None:
    client = function_client("list_tasks")
    answer = client.post("/tasks/list", json={}, environ_overrides=LOCAL | environ)
    assert answer.status_code == status


@pytest.mark.parametrize(("auth", "status"), [("open", 200), ("keys", 401)])
@pytest.mark.parametrize("environ", [{}, {"SERVER_NAME": "0.0.0.0"}])
def test_the_setting_goes_before_what_is_known_of_the_server(
        data_dir: Path, store: Store, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], auth: str, status: int
        ) -> None:
    monkeypatch.setenv("MODEL_CONVERT_AUTH", auth)
    get_settings.cache_clear()
    answer = function_client("list_tasks").post("/tasks/list", json={}, environ_overrides=LOCAL | environ)
    monkeypatch.undo()
    get_settings.cache_clear()
    assert answer.status_code == status


def test_a_gateway_that_others_can_reach_is_closed_and_says_so(serve: Callable[..., Server], store: Store) -> None:
    for key in store.all_keys():
        assert store.end_key(key.id, revoked_at=time.time())
    server = serve("--host", "0.0.0.0", "--processes", "1")
    assert requests.post(f"{server.url}/tasks/list", json={}, timeout=TIMEOUT_S).status_code == 401
    assert requests.get(f"{server.url}/health", timeout=TIMEOUT_S).status_code == 200
    headers = make_key(store, scopes=("read",)).headers
    assert requests.post(f"{server.url}/tasks/list", json={}, headers=headers, timeout=TIMEOUT_S).status_code == 200
    assert b"requests have to show a key" in log_of(server)


def test_a_gateway_that_is_open_to_others_by_name_warns(serve: Callable[..., Server], store: Store) -> None:
    server = serve("--host", "0.0.0.0", "--processes", "1", auth="open")
    assert requests.post(f"{server.url}/tasks/list", json={}, timeout=TIMEOUT_S).status_code == 200
    assert b"MODEL_CONVERT_AUTH=open" in log_of(server)


def test_a_gateway_on_loopback_asks_who_comes_through_a_proxy(gateway: Server) -> None:
    answer = requests.post(f"{gateway.url}/tasks/list", json={}, headers={"X-Forwarded-For": "10.0.0.7"},
                           timeout=TIMEOUT_S)
    assert answer.status_code == 401


# --- what the log tells -----------------------------------------------------------------------------------------------


def test_refusals_are_told_the_log_without_what_was_shown(alone: Caller, closed: None, store: Store,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    made, revoked = make_key(store, scopes=("read",)), make_key(store, revoked_at=1.0)
    path, body = REQUESTS["create_task"][0](Named())
    alone("create_task", "POST", f"{path}?token={made.text}", **with_headers(body, made.headers)).assert_error(403)
    alone("create_task", "POST", path, **with_headers(body, revoked.headers)).assert_error(401)
    lines: list[Any] = [record for record in caplog.records if record.name == "audit"]
    assert [(line.status, line.key_id, line.path) for line in lines] == [
        (403, made.key.id, "/tasks/create"), (401, revoked.key.id, "/tasks/create")]
    told = json.dumps([{name: str(value) for name, value in vars(line).items()} for line in lines])
    assert made.text not in told and revoked.text not in told and made.key.digest not in told


def log_of(server: Server) -> bytes:
    path = Path(f"/proc/{server.process.pid}/fd/2").resolve()
    return path.read_bytes()
