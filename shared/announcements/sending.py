"""One attempt to deliver an announcement: a POST to a URL that a client has named.

It ends within `LIMIT_S`, whatever the receiver does, and reads `ANSWER_BYTES` at most. It follows no redirect, knows no
proxy, and goes where `addresses` lets it go. The status line decides: what a receiver has answered with 2xx is
delivered, be the rest of the answer too long or cut off.
"""
from __future__ import annotations

import http.client
import io
import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache

from shared import VERSION
from shared.announcements.addresses import Refused, Resolver, look_up, resolve_by_system
from shared.announcements.allowed import Address
from shared.announcements.outcomes import Outcome, Problem
from shared.announcements.urls import Target, read_url
from shared.errors import InvalidRequest
from shared.settings import Settings

LIMIT_S = 10.0
ANSWER_BYTES = 64 << 10  # with the headers
TRIED = 4  # addresses of one name
TRUST_S = 600.0


def send(url: str, body: bytes, headers: Mapping[str, str], settings: Settings, *,
         resolve: Resolver = resolve_by_system, limit_s: float = LIMIT_S) -> Outcome:
    """Send it once, and say what has become of it. Nothing is raised for what the receiver or the network does."""
    ends_at = time.monotonic() + limit_s
    try:
        target = read_url(url)
        with _connect(target, look_up(target, settings, ends_at, resolve), ends_at) as connected:
            return _exchange(_Line(connected, ends_at), target, body, headers)
    except InvalidRequest:  # another version wrote the document
        return Outcome("address")
    except Refused as error:
        return Outcome(error.problem)
    except (http.client.HTTPException, ValueError, OSError) as error:
        return Outcome(_problem_of(error))


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ssl.SSLError):
        return "tls"
    return "connect" if isinstance(error, OSError) else "answer"


def _connect(target: Target, addresses: list[Address], ends_at: float) -> socket.socket:
    """To the first of the checked addresses that takes the connection. The certificate has to be the name's.

    Raises:
        OSError: the last address does not.
    """
    tried = addresses[:TRIED]
    for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
        try:
            connected = socket.create_connection((str(address), target.port), _left_s(ends_at) / left)
            break
        except OSError:
            if left == 1:
                raise
    if target.scheme == "http":
        return connected
    try:
        connected.settimeout(_left_s(ends_at))
        return _trusting(os.environ.get("SSL_CERT_FILE"), int(time.monotonic() / TRUST_S)).wrap_socket(
            connected, server_hostname=target.host)
    except BaseException:
        connected.close()
        raise


@lru_cache(maxsize=1)
def _trusting(_file: str | None, _period: int) -> ssl.SSLContext:
    """Trusts the system's authorities, or those of SSL_CERT_FILE. Reading them takes longer than many an attempt does.
    They are read again each `TRUST_S`, for they change."""
    return ssl.create_default_context()


def _left_s(ends_at: float) -> float:
    """Raises TimeoutError."""
    if (left := ends_at - time.monotonic()) <= 0:
        raise TimeoutError
    return left


def _exchange(line: _Line, target: Target, body: bytes, headers: Mapping[str, str]) -> Outcome:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = line  # all that it needs of a socket
    connection.request("POST", target.path, body, {
        "Host": target.host_header, "Accept-Encoding": "identity", "Connection": "close",
        "Content-Type": "application/json", "User-Agent": f"model-convert/{VERSION}", **headers})
    with connection.getresponse() as answer:
        outcome = Outcome(_judge(answer.status), answer.status, _retry_after_s(answer.getheader("Retry-After")))
        with suppress(http.client.HTTPException, ValueError, OSError):
            while answer.read(4096):  # a receiver that is cut off in its answer might take it for its own fault
                pass
    return outcome


def _judge(status: int) -> Problem | None:
    if 200 <= status < 300:
        return None
    return "gone" if status == 410 else "redirect" if 300 <= status < 400 else "status"


def _retry_after_s(text: str | None) -> float | None:
    """Seconds, or a date; None where it is neither (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


class _Line:
    """A connected socket as `http.client` uses one. All that is sent and read is over at one moment, and however a
    receiver deals out its bytes: the time limit of a socket alone begins anew with each of them."""

    def __init__(self, connected: socket.socket, ends_at: float) -> None:
        self._connected = connected
        self._ends_at = ends_at

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._connected.settimeout(_left_s(self._ends_at))
            view = view[self._connected.send(view):]

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self._connected, self._ends_at), 4096)

    def close(self) -> None:
        """`http.client` closes before the answer is read to its end. So `send` itself does."""


class _Answer(io.RawIOBase):
    def __init__(self, connected: socket.socket, ends_at: float) -> None:
        self._connected = connected
        self._ends_at = ends_at
        self._left_bytes = ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left_bytes:
            raise http.client.HTTPException("the answer is too long")
        self._connected.settimeout(_left_s(self._ends_at))
        count = self._connected.recv_into(buffer, min(len(buffer), self._left_bytes))
        self._left_bytes -= count
        return count
