"""Whatever is sent, the answer is clear and in the error form, nothing is changed, and the service stays well."""
from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests

from infra.servers.base import Server
from shared.documents import Task
from shared.errors import AppError
from shared.store import Store, TaskFilter
from tests.functions.bad_requests import BAD_QUERIES, BAD_REQUESTS, PATHS, Bad, BadQuery
from tests.functions.service import Caller, call_over_http


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.what)
def test_a_bad_request_is_told_what_would_be_right(call: Caller, store: Store, bad: Bad) -> None:
    answer = call(bad.name, "POST", PATHS[bad.name], data=bad.body, headers=bad.headers)
    answer.assert_error(bad.status, *bad.mentions)
    assert store.list_page(TaskFilter(), 1, 1) == ([], 0)


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=lambda bad: bad.what)
def test_a_bad_request_is_told_in_english_when_asked_to(alone: Caller, bad: Bad) -> None:
    answer = alone(bad.name, "POST", PATHS[bad.name], data=bad.body, headers=bad.headers | {"Accept-Language": "en"})
    answer.assert_error(bad.status)
    assert not any("\u4e00" <= char <= "\u9fff" for char in answer.message), answer.message


@pytest.mark.parametrize("bad", BAD_QUERIES, ids=lambda bad: bad.what)
def test_a_bad_query_is_told_what_would_be_right(call: Caller, add: Callable[..., Task], bad: BadQuery) -> None:
    path = bad.path.replace("{id}", add(status="running", stage="compile").id)
    call(bad.name, "GET", path, headers=bad.headers).assert_error(400, *bad.mentions)
    english = call(bad.name, "GET", path, headers=bad.headers | {"Accept-Language": "en"})
    english.assert_error(400)
    assert not any("\u4e00" <= char <= "\u9fff" for char in english.message), english.message


def test_a_body_of_just_the_allowed_size_is_read(call: Caller, store: Store) -> None:
    body = b'{"page": 1}'
    assert call("list_tasks", "POST", "/tasks/list", data=body + b" " * ((1 << 20) - len(body)),
                headers={"Content-Type": "application/json"}).status == 200


@pytest.mark.parametrize("spelling", ["2.0", "2e0", "0.2e1"])
def test_a_whole_number_is_an_integer_however_json_spells_it(call: Caller, store: Store, spelling: str) -> None:
    answer = call("list_tasks", "POST", "/tasks/list", data=f'{{"page": {spelling}}}'.encode(),
                  headers={"Content-Type": "application/json"})
    assert answer.status == 200 and answer.data["page"] == 2


@pytest.mark.parametrize("content_type", [
    "application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\"",
    "application/vnd.api+json"])
def test_every_spelling_of_the_json_type_is_accepted(call: Caller, store: Store, content_type: str) -> None:
    answer = call("list_tasks", "POST", "/tasks/list", data=b"\xef\xbb\xbf{}", headers={"Content-Type": content_type})
    assert answer.status == 200


@pytest.mark.parametrize(("name", "method", "path", "allow"), [
    ("list_tasks", "GET", "/tasks/list", {"POST", "OPTIONS"}),
    ("list_tasks", "PUT", "/tasks/list", {"POST", "OPTIONS"}),
    ("pause_task", "DELETE", "/tasks/pause", {"POST", "OPTIONS"}), ("query_task", "HEAD", "/tasks/query", None),
    ("get_task_status", "POST", "/tasks/task_1/status", {"GET", "HEAD", "OPTIONS"}),
    ("health", "PATCH", "/health", {"GET", "HEAD", "OPTIONS"}), ("list_tasks", "REPORT", "/tasks/list", None)])
def test_a_wrong_method_is_told_the_right_ones(call: Caller, name: str, method: str, path: str,
                                               allow: set[str] | None) -> None:
    answer = call(name, method, path)
    assert answer.status == 405 and answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert allow is None or set(answer.headers["Allow"].split(", ")) == allow
    if method != "HEAD":
        answer.assert_error(405, method, "GET" if allow and "GET" in allow else "POST")


@pytest.mark.parametrize("path", [
    "/nothing", "/tasks", "/tasks/", "/tasks/list/", "/tasks//list", "/TASKS/LIST", "/tasks/list.json",
    "/robots.txt", "/favicon.ico", "/tasks/%2e%2e/list%00", "/a%0d%0aSet-Cookie:%20b", "/%ff%fe", "/" + "a" * 3000,
    "/tasks/a/b/status", "/<script>"])
def test_an_unknown_path_is_not_found(call: Caller, path: str) -> None:
    for method in ("GET", "POST"):
        call("list_tasks", method, path).assert_error(404, "路径不存在")


def test_a_large_body_to_an_unknown_path_is_answered_too(call: Caller) -> None:
    call("list_tasks", "POST", "/nothing", data=b"a" * 5_000_000).assert_error(404)


def test_head_and_options_answer_without_a_body(call: Caller) -> None:
    head = call("health", "HEAD", "/health")
    assert (head.status, head.body) == (200, b"")
    options = call("list_tasks", "OPTIONS", "/tasks/list")
    assert (options.status, options.body, options.headers["Allow"]) == (204, b"", "POST, OPTIONS")


def test_a_function_alone_may_be_mounted_below_a_prefix_or_called_at_its_root(
        alone: Caller, add: Callable[..., Task]) -> None:
    task = add()
    assert alone("list_tasks", "POST", "/api/v2/tasks/list", json={}).data["total"] == 1
    assert alone("list_tasks", "POST", "/", json={}).data["total"] == 1
    assert alone("get_task_status", "GET", f"/?task_id={task.id}&other=1").data["task_id"] == task.id
    assert alone("get_task_status", "GET", f"/mc/tasks/{task.id}/status").data["task_id"] == task.id
    alone("get_task_status", "GET", "/").assert_error(400, "task_id", "必填")
    alone("list_tasks", "POST", "/xtasks/list", json={}).assert_error(404)


@pytest.mark.parametrize("error", [RuntimeError("secret in /srv/app/shared/http.py"), AppError("坏", "broken")])
def test_an_error_of_our_own_is_logged_and_told_without_detail(
        alone: Caller, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
        error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    caplog.set_level("INFO")
    monkeypatch.setattr(type(store), "get", fail)
    answer = alone("query_task", "POST", "/tasks/query", json={"task_id": "task_1"})
    answer.assert_error(500)
    assert answer.message == "服务器内部错误"
    assert str(error) in caplog.text and "Traceback" in caplog.text


def _exchange(url: str, request: bytes) -> bytes:
    """What the server answers to these bytes until it closes."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


HOST = b"Host: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(("what", "request_bytes", "status"), [
    ("no HTTP", b"\x00\x01\xff garbage\r\n\r\n", 400),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("a long request line", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    ("a long header", b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    ("300 headers", b"GET /health HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * 300 + b"\r\n", 431),
    ("a method that HTTP does not have", b"BREW /tasks/list HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("a head of 100 kB that comes in parts", b"GET /health HTTP/1.1\r\n" + HOST
     + b"".join(b"X-%d: %s\r\n" % (number, b"a" * 5000) for number in range(20)) + b"\r\n", 431),
    ("a body in 20,000 pieces", b"POST /tasks/list HTTP/1.1\r\n" + HOST
     + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 20_000, 400),
    ("another version", b"GET /health HTTP/9.1\r\n\r\n", 400),
    ("two lengths", b"POST /tasks/list HTTP/1.1\r\n" + HOST
     + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("a negative length", b"POST /tasks/list HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\n", 400),
    ("a chunk without a size", b"POST /tasks/list HTTP/1.1\r\n" + HOST
     + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 400),
    ("chunks of 10 MB", b"POST /tasks/list HTTP/1.1\r\n" + HOST
     + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
     + (b"100000\r\n" + b"a" * 0x100000 + b"\r\n") * 10 + b"0\r\n\r\n", 413),
])
def test_what_is_hardly_http_is_answered_in_the_error_form(gateway: Server, what: str, request_bytes: bytes,
                                                           status: int) -> None:
    head, _, body = _exchange(gateway.url, request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"content-type: application/json; charset=utf-8" in head.lower()
    answer = requests.models.complexjson.loads(body)
    assert list(answer) == ["success", "message", "data"]
    assert answer["success"] is False and answer["data"] is None and answer["message"]


@pytest.mark.parametrize("wish", [b"h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk", b"websocket"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_clients_wish_for_another_protocol_is_not_heard(gateway: Server, wish: bytes, parts: int) -> None:
    request = (b"POST /tasks/list HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
               b"upgrade: " + wish + b"\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"page\": 1}")
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            connection.sendall(request[:-5] if parts == 2 else request)
            if parts == 2:
                time.sleep(0.2)
                connection.sendall(request[-5:])
            answer = b""
            while not answer.endswith(b"}}"):
                answer += connection.recv(65536) or b"}}"
            assert answer.startswith(b"HTTP/1.1 200 "), answer


def test_two_hundred_bad_requests_at_once_leave_the_service_well(gateway: Server, add: Callable[..., Task]) -> None:
    call, task = call_over_http(gateway.url), add()

    def send(number: int) -> bool:
        bad = BAD_REQUESTS[number % len(BAD_REQUESTS)]
        return call(bad.name, "POST", PATHS[bad.name], data=bad.body, headers=bad.headers).status == bad.status

    with ThreadPoolExecutor(200) as pool:
        assert Counter(pool.map(send, range(200))) == {True: 200}
    assert call("health", "GET", "/health").data["dependencies"]["store"]["state"] == "up"
    assert call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).data["task_id"] == task.id


@pytest.mark.parametrize("encoding", ["gzip", "deflate, gzip", "br", "GZIP"])
def test_a_body_in_another_encoding_is_refused(call: Caller, encoding: str) -> None:
    answer = call("list_tasks", "POST", "/tasks/list", data=b"{}",
                  headers={"Content-Type": "application/json", "Content-Encoding": encoding})
    assert answer.status == 415 and "Content-Encoding" in answer.message


@pytest.mark.parametrize("shape", ["1_0,3,32,32", "\uff11,3,32,32", "1,3,0x20,32", "+1,3,32,32", "1,,3,32"])
def test_a_dimension_is_written_in_plain_digits(call: Caller, shape: str) -> None:
    answer = call("create_task", "POST", "/tasks/create", json={
        "task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/m.onnx",
        "parameters": {"input_shape": shape}})
    assert answer.status == 400 and "input_shape" in answer.message


def test_many_fields_of_which_one_comes_twice_are_read_once(call: Caller) -> None:
    body = "{" + ", ".join(f'"field {number}": 0' for number in range(30_000)) + ', "field 7": 1}'
    answer = call("list_tasks", "POST", "/tasks/list", data=body.encode(),
                  headers={"Content-Type": "application/json"})
    assert answer.status == 400 and "field 7" in answer.message
