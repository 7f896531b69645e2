"""Uploads that are refused: every client sees why, also one that sends a large body on."""
from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from urllib.parse import urlsplit

import pytest
import requests

from infra.servers.base import Server
from infra.uploads import AT_ONCE, DRAIN_BYTES
from tests.functions.service import Caller, call_over_http
from tests.functions.uploading import MIB, TIMEOUT_S, create, put, wait_for


@contextmanager
def all_places_taken(call: Caller) -> Iterator[None]:
    """As many uploads as one process takes stand still after their first byte."""
    with ExitStack() as stack:
        for _ in range(AT_ONCE):
            path = urlsplit(create(call, file_name="m.onnx", size_bytes=MIB)["files"][0]["url"])
            connection = stack.enter_context(socket.create_connection((path.hostname, path.port), timeout=TIMEOUT_S))
            connection.sendall(b"PUT %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\nz" % (
                path.path.encode(), MIB))
        yield


def test_beyond_so_many_uploads_at_once_a_client_is_told_to_come_later(serve: Callable[..., Server]) -> None:
    call = call_over_http(serve("--processes", "1", client_s="600").url)
    with all_places_taken(call):
        late = create(call, file_name="m.onnx", size_bytes=10)["files"][0]
        wait_for(lambda: put(late, b"0123456789").status_code == 503)
        refused = put(late, b"0123456789")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    wait_for(lambda: put(late, b"0123456789").status_code == 200)


@pytest.mark.parametrize("path", ["/uploads/x", "/uploads/", "/uploads//a", "/uploads/1.2.3/uploads/a",
                                  "/uploads/1.9999999999.-.0.0.1.AAAA/uploads/a", "/uploads/%ff/uploads/a"])
def test_a_url_that_nobody_has_signed_is_refused(gateway: Server, path: str) -> None:
    answer = requests.put(gateway.url + path, data=b"a", timeout=TIMEOUT_S)
    assert answer.status_code in (403, 404) and answer.json()["success"] is False


@pytest.mark.parametrize(("change", "status"), [
    ("size", 400), ("token", 403), ("path", 403), ("expired", 403), ("no token", 404)])
def test_a_refused_upload_whose_client_sends_on_sees_the_answer(
        gateway: Server, serve: Callable[..., Server], change: str, status: int) -> None:
    url = serve(upload_url_s="1").url if change == "expired" else gateway.url
    about = create(call_over_http(url), file_name="m.onnx", size_bytes=64 * MIB)["files"][0]
    if change == "expired":
        time.sleep(max(0.0, datetime.fromisoformat(about["expires_at"]).timestamp() - time.time()) + 1.5)
    path = {"token": re.sub(r"(.)(?=/[^/]*/upload_)", "!", about["url"]), "path": f"{about['url']}x",
            "no token": f"{url}/uploads//a"}.get(change, about["url"])
    body = b"z" * (80 * MIB if change == "size" else 64 * MIB)
    answer = send_all_then_read("PUT", path, body)
    assert answer.status == status and answer.headers["Connection"] == "close"
    told = json.loads(answer.read())
    assert told["success"] is False and told["message"]


def test_an_upload_for_which_there_is_no_room_sees_so_after_its_whole_body(serve: Callable[..., Server]) -> None:
    call = call_over_http(serve("--processes", "1", client_s="600").url)
    with all_places_taken(call):
        late = create(call, file_name="m.onnx", size_bytes=48 * MIB)["files"][0]
        wait_for(lambda: send_all_then_read("PUT", late["url"], b"z" * 48 * MIB).status == 503)


def test_a_refused_body_that_never_ends_ends_with_its_connection(gateway: Server) -> None:
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"PUT /uploads/x/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        sent = 0
        with suppress(ConnectionError):
            while sent < 1 << 30:
                sent += connection.send(b"z" * MIB)
        assert DRAIN_BYTES <= sent < 1 << 30
    assert requests.get(f"{gateway.url}/health", timeout=30).status_code == 200


def send_all_then_read(method: str, url: str, body: bytes) -> http.client.HTTPResponse:
    """As the simplest client does: it looks for no answer before its body is out."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=TIMEOUT_S)
    connection.request(method, address.path, body)
    return connection.getresponse()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_uploads_and_their_completion_are_posted_alone(gateway: Server, method: str) -> None:
    for path in ("/uploads", "/uploads/complete"):
        answer = requests.request(method, gateway.url + path, data=b"{}", timeout=TIMEOUT_S)
        assert (answer.status_code, answer.json()["success"]) == (405, False) and "POST" in answer.headers["Allow"]
