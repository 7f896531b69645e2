"""A client's connection: uvicorn's, with a budget of time and bytes for the head, the body and the answer."""
from __future__ import annotations

import asyncio
import json
import re
import secrets
import socket
import struct
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infra.uploads import is_upload
from shared.settings import get_settings

HEAD_BYTES = 32 << 10
LINE_BYTES = 8190  # the request line and each field
FIELDS = 100
PIECES = 8192  # of a body: each costs the parser some microseconds, whatever its size
PROGRESS_BYTES = 64 << 10  # of an upload: its client has the time for a request anew after so many
PIPELINED = 16  # requests on one connection that wait for the answer to an earlier one

# The parser takes no body after a client's wish for another protocol. We have no other, so we do not hear the wish, as
# RFC 9110 allows. Java's own client wishes for HTTP/2 in this way.
_UPGRADE, _NO_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE), b"\r\nX-Upgrade:"


class _Refused(Exception):
    """Raised in a callback of the parser: the request's head is not taken."""


class Connection(HttpToolsProtocol):
    """What a request costs before it is whole is bounded here: nothing else has seen it. The server calls `look`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # `client_s`: from the connection, or a request's first byte, to its last byte; and without taking anything.
        self._limit_s = get_settings().client_s
        self._most = get_settings().connections
        self._reading_since: float | None = None  # a request is expected, or a part of it is there
        self._in_head, self._in_body = False, False
        self._head_bytes = 0  # of a head that is not whole, but for what came at once with its begin
        self._pieces = 0
        self._is_upload, self._progress_bytes = False, 0
        self._unsent, self._stuck_since = 0, 0.0
        self._refusal = HTTPStatus.BAD_REQUEST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reading_since = self._stuck_since = self.loop.time()
        if len(self.connections) > self._most:
            waiting = [one for one in self.connections if isinstance(one, Connection)
                       and one._reading_since is not None and not one.transport.is_closing()]
            min(waiting, key=Connection._waits_since)._drop()  # this one is among them

    def data_received(self, data: bytes) -> None:
        if self._reading_since is None:
            self._reading_since = self.loop.time()
        if not self._in_body:
            head, separator, rest = data.partition(b"\r\n\r\n")
            data = _UPGRADE.sub(_NO_UPGRADE, head) + separator + rest
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise _Refused
        self._in_head, self._head_bytes, self._pieces = True, 0, 0
        if self._reading_since is None:  # it came together with the end of the request before it
            self._reading_since = self.loop.time()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        fields = [len(name) + len(value) + 4 for name, value in self.headers]
        if len(self.url) > LINE_BYTES:
            self._refusal = HTTPStatus.REQUEST_URI_TOO_LONG
            raise _Refused
        if len(fields) > FIELDS or max(fields, default=0) > LINE_BYTES or sum(fields) > HEAD_BYTES:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _Refused
        super().on_headers_complete()
        # Its pieces cost no more than they hold: a body with a length is cut by the network alone.
        self._is_upload = is_upload(self.scope["method"], self.scope["path"]) and not any(
            name == b"transfer-encoding" for name, _ in self.headers)
        self._progress_bytes = 0

    def on_body(self, body: bytes) -> None:
        if self._is_upload:
            self._progress_bytes += len(body)
            if self._progress_bytes >= PROGRESS_BYTES:
                self._progress_bytes, self._reading_since = 0, self.loop.time()
        else:
            self._pieces += 1
        if self._pieces > PIECES:
            raise _Refused
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body, self._reading_since = False, None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    def resume_writing(self) -> None:
        """The client has taken what had filled up. Two looks at a download may see the same amount unsent."""
        self._stuck_since = self.loop.time()
        super().resume_writing()

    def look(self, now: float) -> None:
        """End what takes too long; to be called once a second."""
        if self._reading_since is not None and (self._is_answering() or (self._is_upload and self.flow.read_paused)):
            self._reading_since = now  # what else comes waits for us
        if self._reading_since is not None and now - self._reading_since > self._limit_s:
            begun = self._in_head or not (self.cycle is None or self.cycle.response_complete)
            if begun and not self.transport.is_closing():
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
            else:
                self._drop()
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._stuck_since = now
        elif now - self._stuck_since > self._limit_s:
            self._drop()
        self._unsent = unsent

    def _waits_since(self) -> float:
        return self._reading_since or 0.0

    def _is_answering(self) -> bool:
        return bool(self.pipeline) or (
            self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete)

    def _drop(self) -> None:
        """End the connection at once, with what the kernel holds for it too."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer in the contract's error form, and close."""
        if not self.transport.is_closing():
            self.transport.write(error_answer(status))
            self.transport.close()


def error_answer(status: HTTPStatus) -> bytes:
    """The answer to a request that is too malformed, too large or too slow to reach the app."""
    zh = "请求未在时限内完整到达" if status == HTTPStatus.REQUEST_TIMEOUT else f"请求无法解析: {status.phrase}"
    body = json.dumps({"success": False, "message": zh, "data": None}, ensure_ascii=False).encode()
    head = (f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
            f"Content-Type: application/json; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
            f"X-Request-Id: {secrets.token_hex(8)}\r\nContent-Length: {len(body)}\r\n\r\n")
    return head.encode("latin-1") + body
