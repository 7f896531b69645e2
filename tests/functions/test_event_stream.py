"""A task's events as server-sent events, from real servers: the gateway, and the function alone."""
from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.gateway import FUNCTIONS_DIR
from infra.http_server import GRACE_S
from infra.servers.base import Server, free_port, spawn, wait_until
from shared import transitions
from shared.api import event_stream
from shared.documents import Task
from shared.errors import Unavailable
from shared.store import Store
from tests.functions.service import Caller, serve_gateway

STREAM = {"Accept": "text/event-stream"}
Frame = tuple[str | None, str, Any]  # id, event, data


@pytest.fixture(scope="module")
def function_alone(data_dir: Path) -> Iterator[str]:
    """functions-framework's own server, with this function only."""
    port, log = free_port(), data_dir / "function.log"
    process = spawn([Path(sys.executable).with_name("functions-framework"), "--target", "get_task_events", "--source",
                     FUNCTIONS_DIR / "get_task_events" / "main.py", "--host", "127.0.0.1", "--port", str(port)], log,
                    dict(os.environ))
    url = f"http://127.0.0.1:{port}"
    server = Server("get_task_events", url, "functions-framework", process)
    try:
        wait_until(lambda: _answers(url), process, "the function", log)
        yield url
    finally:
        server.stop()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/tasks/task_1_none/events", timeout=60).status_code == 404
    except requests.ConnectionError:
        return False


@pytest.fixture(params=["alone", "gateway"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("gateway").url if request.param == "gateway" else request.getfixturevalue(
        "function_alone")


@pytest.fixture
def serve(data_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A gateway of the test's own, with settings and options of its own."""
    started: list[Server] = []

    def serve(*options: str, **settings: str) -> Server:
        env = dict(os.environ) | {f"MODEL_CONVERT_{name.upper()}": value for name, value in settings.items()}
        started.append(serve_gateway(tmp_path, env, "--processes", "1", *options))
        return started[-1]

    yield serve
    for server in started:
        server.stop()


@contextmanager
def listen(url: str, task: Task, **headers: str) -> Iterator[requests.Response]:
    with requests.get(f"{url}/tasks/{task.id}/events", stream=True, timeout=60, headers=STREAM | {
            name.replace("_", "-"): value for name, value in headers.items()}) as response:
        yield response


def frames(lines: Iterator[bytes]) -> Iterator[Frame]:
    """As the standard reads them; comments and `retry` are left out."""
    fields: dict[str, str] = {}
    for line in map(bytes.decode, lines):
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "event" in fields:
                yield fields.get("id"), fields["event"], json.loads(fields["data"])
            fields = {}


def heard(response: requests.Response) -> Iterator[Frame]:
    return frames(response.iter_lines(chunk_size=1))


def read_all(body: bytes) -> list[Frame]:
    return list(frames(iter(body.split(b"\n"))))


def test_what_is_stored_is_told_first_and_what_happens_then_as_it_happens(url: str, store: Store,
                                                                          add: Callable[..., Task]) -> None:
    task = add(status="running", owner="w", epoch=1)
    store.update(task.id, transitions.pause())
    with listen(url, task) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        stream = heard(response)
        assert next(stream) == (None, "progress", {"stage": None, "percent": 0.0, "log_lines": []})
        seq, kind, data = next(stream)
        assert (seq, kind) == ("1", "paused")
        assert list(data) == ["seq", "type", "at", "data"] and (data["seq"], data["type"]) == (1, "paused")
        for change, told in ((transitions.resume(), "resumed"), (transitions.pause(), "paused")):
            began = time.monotonic()
            store.update(task.id, change)
            assert next(stream)[1] == told
            assert time.monotonic() - began < 10  # the next heartbeat comes later
        store.update(task.id, transitions.cancel())
        assert [(frame[0], frame[1]) for frame in stream] == [("4", "cancelled")]  # and that is the end


def test_progress_is_told_when_it_changes_and_is_no_event(url: str, store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running", owner="w", epoch=1)
    with listen(url, task) as response:
        stream = heard(response)
        assert next(stream)[2] == {"stage": None, "percent": 0.0, "log_lines": []}
        store.update(task.id, transitions.begin_stage("w", 1, "compile", 10.0, 1.0))
        assert next(stream) == (None, "progress", {"stage": "compile", "percent": 10.0, "log_lines": []})
        assert next(stream)[:2] == ("1", "stage_started")
        store.update(task.id, transitions.beat("w", 1, 55.55))
        assert next(stream) == (None, "progress", {"stage": "compile", "percent": 55.5, "log_lines": []})
        store.update(task.id, transitions.beat("w", 1, 55.55))
        store.update(task.id, transitions.cancel())
        assert next(stream)[:2] == ("2", "cancelled")


def test_what_the_running_stage_says_is_told_with_the_progress_and_is_no_event(url: str, store: Store,
                                                                             add: Callable[..., Task]) -> None:
    task = add(status="running", owner="w", epoch=1, stage="compile", log_lines=["loading"])
    with listen(url, task) as response:
        stream = heard(response)
        assert next(stream)[2] == {"stage": "compile", "percent": 0.0, "log_lines": ["loading"]}
        for lines in (["loading", "正在编译"], ["loading", "正在编译", "50%"]):
            store.update(task.id, transitions.beat("w", 1, 0.0, lines))
            assert next(stream) == (None, "progress", {"stage": "compile", "percent": 0.0, "log_lines": lines})
        store.update(task.id, transitions.beat("w", 1, 0.0, lines))
        store.update(task.id, transitions.cancel())
        assert next(stream) == (None, "progress", {"stage": "compile", "percent": 0.0, "log_lines": []})
        assert [frame[:2] for frame in stream] == [("1", "cancelled")]


@pytest.mark.parametrize(("headers", "query", "told"), [
    ({}, "", ["1", "2", "3"]), ({}, "?after=2", ["3"]), ({"Last-Event-ID": "1"}, "", ["2", "3"]),
    ({"Last-Event-ID": "2"}, "?after=0", ["3"]), ({}, "?after=3", []), ({}, "?after=99", []),
    ({"Last-Event-ID": "0"}, "", ["1", "2", "3"])])
def test_a_client_that_comes_back_is_told_what_it_has_missed(
        call: Caller, store: Store, add: Callable[..., Task], headers: dict[str, str], query: str,
        told: list[str]) -> None:
    task = add(status="running")
    for change in (transitions.pause(), transitions.resume(), transitions.cancel()):
        store.update(task.id, change)
    answer = call("get_task_events", "GET", f"/tasks/{task.id}/events{query}", headers=STREAM | headers)
    assert answer.status == 200 and answer.body.startswith(b"retry: 1000\n\n")
    assert [frame[0] for frame in read_all(answer.body) if frame[0]] == told


def test_a_client_that_comes_back_after_the_end_is_told_to_stay_away(call: Caller, store: Store,
                                                                     add: Callable[..., Task]) -> None:
    task = add(status="running")
    store.update(task.id, transitions.cancel())
    answer = call("get_task_events", "GET", f"/tasks/{task.id}/events", headers=STREAM | {"Last-Event-ID": "1"})
    assert (answer.status, answer.body) == (204, b"")
    store.update(task.id, transitions.retry())
    store.update(task.id, transitions.cancel())
    again = call("get_task_events", "GET", f"/tasks/{task.id}/events", headers=STREAM | {"Last-Event-ID": "1"})
    assert [frame[1] for frame in read_all(again.body) if frame[0]] == ["retried", "cancelled"]


def test_an_unknown_task_is_an_error_and_no_stream(call: Caller, store: Store) -> None:
    call("get_task_events", "GET", "/tasks/task_1_none/events", headers=STREAM).assert_error(404, "任务不存在")


def test_a_deleted_task_ends_its_stream(url: str, store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running")
    with listen(url, task) as response:
        stream = heard(response)
        next(stream)
        store.delete(task.id)
        assert list(stream) == [(None, "deleted", {"task_id": task.id})]


def test_a_stream_ends_after_its_time_and_the_next_one_goes_on(serve: Callable[..., Server], store: Store,
                                                               add: Callable[..., Task]) -> None:
    server, task = serve(sse_max_s="1"), add(status="running")
    began = time.monotonic()
    with listen(server.url, task) as response:
        assert [frame[1] for frame in heard(response)] == ["progress"]
    assert 1 <= time.monotonic() - began < 60
    store.update(task.id, transitions.cancel())
    with listen(server.url, task, Last_Event_ID="0") as response:
        assert [frame[0] for frame in heard(response) if frame[0]] == ["1"]


def test_streams_hold_no_thread_and_their_number_is_bounded(serve: Callable[..., Server], store: Store,
                                                            add: Callable[..., Task]) -> None:
    server, task = serve("--threads", "1", sse_streams="3"), add(status="running")
    with listen(server.url, task) as first, listen(server.url, task) as second, listen(server.url, task) as third:
        streams = [heard(first), heard(second), heard(third)]
        assert [next(stream)[1] for stream in streams] == ["progress"] * 3
        refused = requests.get(f"{server.url}/tasks/{task.id}/events", headers=STREAM, timeout=60)
        assert refused.status_code == 503 and refused.json()["success"] is False
        assert "事件流过多" in refused.json()["message"] and int(refused.headers["Retry-After"]) > 0
        for _ in range(8):
            assert requests.get(f"{server.url}/tasks/{task.id}/events", timeout=60).status_code == 200
        store.update(task.id, transitions.pause())
        assert [next(stream)[1] for stream in streams] == ["paused"] * 3
    # The clients are gone, and their places free, although nothing was written to them.
    deadline = time.monotonic() + 60
    status = 503
    while status == 503 and time.monotonic() < deadline:
        time.sleep(0.3)
        with listen(server.url, task) as response:
            status = response.status_code
    assert status == 200


def test_a_task_that_cannot_be_read_ends_its_own_streams_only(serve: Callable[..., Server], store: Store,
                                                             add: Callable[..., Task], data_dir: Path) -> None:
    server, bad, good = serve(), add(status="running"), add(status="running")
    with listen(server.url, bad) as of_bad, listen(server.url, good) as of_good:
        stream = heard(of_good)
        next(heard(of_bad)), next(stream)
        with closing(sqlite3.connect(data_dir / "tasks.db")) as connection, connection:
            connection.execute("UPDATE tasks SET doc = json_set(doc, '$.progress', 'far') WHERE id = ?", [bad.id])
        store.update(good.id, transitions.pause())
        assert next(stream)[1] == "paused"
        store.update(good.id, transitions.cancel())
        assert [frame[1] for frame in stream] == ["cancelled"]
        assert of_bad.raw.read() in (b"", b"0\r\n\r\n")
    store.delete(bad.id)


def test_a_gateway_that_is_told_to_go_ends_its_streams_at_once(serve: Callable[..., Server],
                                                               add: Callable[..., Task]) -> None:
    server, task = serve(), add(status="running")
    with listen(server.url, task) as response:
        stream = heard(response)
        next(stream)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert list(stream) == []  # its end, not a broken connection
        assert server.process.wait(60) == 0
        assert time.monotonic() - began < GRACE_S  # which it has for requests that go on


def test_head_leaves_no_stream_behind(serve: Callable[..., Server], store: Store, add: Callable[..., Task]) -> None:
    server, task = serve(sse_streams="1"), add(status="running")
    for _ in range(3):
        head = requests.head(f"{server.url}/tasks/{task.id}/events", headers=STREAM, timeout=60)
        assert (head.status_code, head.content) == (200, b"")
    with listen(server.url, task) as response:
        assert response.status_code == 200 and next(heard(response))[1] == "progress"


# --- in this process, where time and the store can be made to fail ----------------------------------------------------


def test_a_quiet_stream_has_a_heart(alone: Caller, store: Store, add: Callable[..., Task],
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "POLL_S", 0.05)
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.3)
    task = add(status="running")
    threading.Timer(2.0, lambda: store.update(task.id, transitions.cancel())).start()
    began = time.monotonic()
    body = alone("get_task_events", "GET", f"/tasks/{task.id}/events", headers=STREAM).body
    assert 2 <= body.count(b": heartbeat\n\n") <= (time.monotonic() - began) / 0.3  # and not with each look
    assert [frame[1] for frame in read_all(body)] == ["progress", "cancelled"]


def test_a_stream_outlasts_the_stores_absence(alone: Caller, store: Store, add: Callable[..., Task],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    task, get, calls = add(status="running"), type(store).get, iter(range(100))

    def get_with_an_outage(self: Store, task_id: str, **of: Any) -> Task | None:
        number = next(calls)
        if number in (2, 3):
            raise Unavailable("store", "gone")
        if number == 4:
            store.update(task_id, transitions.cancel())
        return get(self, task_id, **of)

    monkeypatch.setattr(event_stream, "POLL_S", 0.01)
    monkeypatch.setattr(type(store), "get", get_with_an_outage)
    body = alone("get_task_events", "GET", f"/tasks/{task.id}/events", headers=STREAM).body
    assert [frame[1] for frame in read_all(body)] == ["progress", "cancelled"]


def test_a_retry_that_comes_while_the_end_is_told_is_not_the_end(store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running")
    store.update(task.id, transitions.cancel())
    read = store.get(task.id)
    store.update(task.id, transitions.retry())
    follower = event_stream.Follower(task.id, 0)
    assert [frame[1] for frame in read_all(follower.look(read))] == ["progress", "cancelled", "retried"]
    assert not follower.ended
    store.update(task.id, transitions.cancel())
    assert [frame[1] for frame in read_all(follower.look(store.get(task.id)))] == ["cancelled"]
    assert follower.ended
