"""Clients that send half a request or nothing, or take no answer: they cost the gateway a connection for a while."""
from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.servers.base import Server
from shared.documents import Task
from shared.files import Files
from shared.settings import get_settings
from shared.task_logs import MAX_LOG_BYTES, log_path
from tests.functions.service import serve_gateway

TCP_CLOSE = 7  # tcp_states.h

HEAD = b"POST /tasks/list HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SENT = {"nothing": b"", "a byte": b"G", "half a head": HEAD, "half a body": HEAD + b"Content-Length: 100\r\n\r\n{",
        "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n64\r\n{",
        "half a second request": HEAD + b"Content-Length: 2\r\n\r\n{}" + HEAD}


@pytest.fixture
def serve(data_dir: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a gateway of one process and two threads, with settings of the test's own."""
    with ExitStack() as started:
        def serve(**settings: str) -> Server:
            env = dict(os.environ) | {f"MODEL_CONVERT_{name.upper()}": value for name, value in settings.items()}
            server = serve_gateway(tmp_path, env, "--processes", "1", "--threads", "2")
            started.callback(server.stop)
            return server

        yield serve


def connect(stack: ExitStack, url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return stack.enter_context(socket.create_connection((host, int(port)), timeout=60))


def read_to_end(connection: socket.socket) -> bytes:
    """Until the server closes, or ends the connection otherwise."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


@pytest.mark.parametrize("kind", SENT)
def test_whoever_sends_half_a_request_holds_up_nobody_and_is_closed(
        serve: Callable[..., Server], store: Any, kind: str) -> None:
    url = serve(client_s="3").url
    with ExitStack() as stack:
        slow = [connect(stack, url) for _ in range(40)]
        for connection in slow:
            connection.sendall(SENT[kind])
        for _ in range(10):
            assert requests.post(f"{url}/tasks/list", json={}, timeout=60).status_code == 200
        answers = [read_to_end(connection) for connection in slow]
    last = [answer.rpartition(b"HTTP/1.1 ")[2] for answer in answers]
    if kind == "nothing":
        assert answers == [b""] * 40
    else:
        assert all(answer.startswith(b"408 ") and b"\r\nX-Request-Id: " in answer for answer in last), last
        assert [json.loads(answer.partition(b"\r\n\r\n")[2])["success"] for answer in last] == [False] * 40
    assert sum(answer.count(b"HTTP/1.1 200") for answer in answers) == (40 if "second" in kind else 0)


def test_whoever_takes_no_answer_is_closed_and_others_are_answered(
        serve: Callable[..., Server], add: Callable[..., Task], files: Files, tmp_path: Path) -> None:
    url, task = serve(client_s="3").url, add(stage="compile")
    (tmp_path / "log").write_bytes(b"a" * MAX_LOG_BYTES)
    files.upload(tmp_path / "log", log_path(get_settings(), task.id, "compile"))
    wanted = b"GET /tasks/%s/log HTTP/1.1\r\nHost: localhost\r\n\r\n" % task.id.encode()
    with ExitStack() as stack:
        slow = [connect(stack, url) for _ in range(4)]
        for connection in slow:
            connection.sendall(wanted * 16)  # more than the kernel holds for a client
        for _ in range(5):
            assert len(requests.get(f"{url}/tasks/{task.id}/log", timeout=60).content) == MAX_LOG_BYTES
        deadline = time.monotonic() + 60
        while any(map(is_open, slow)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not any(map(is_open, slow))


def test_of_too_many_connections_those_that_waited_longest_are_ended(serve: Callable[..., Server]) -> None:
    url = serve(connections="20", client_s="600").url
    with ExitStack() as stack:
        idle = [connect(stack, url) for _ in range(30)]
        for _ in range(5):
            assert requests.post(f"{url}/tasks/list", json={}, timeout=60).status_code == 200
        assert not any(map(is_open, idle[:10])) and any(map(is_open, idle[20:]))


def test_half_sent_bodies_hold_no_more_than_their_share_of_memory(serve: Callable[..., Server]) -> None:
    url = serve(client_s="600").url
    body = b"[" * (get_settings().max_body_bytes - 1)
    with ExitStack() as stack:
        slow = [connect(stack, url) for _ in range(80)]
        for connection in slow:
            with suppress(ConnectionError):  # it was refused already
                connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) + 1) + body)
        deadline = time.monotonic() + 120
        while sum(map(is_open, slow)) > 70 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert 40 < sum(map(is_open, slow)) <= 70  # a MiB each, and 64 MiB together
        refused = [read_to_end(connection) for connection in slow if not is_open(connection)]
        assert all(not answer or answer.startswith(b"HTTP/1.1 503 ") for answer in refused)
        assert requests.get(f"{url}/health", timeout=60).status_code == 200


def is_open(connection: socket.socket) -> bool:
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_CLOSE
