"""The gateway between its server (ASGI) and the functions (WSGI): a request comes whole before a thread is given to it.
An upload's body goes to the disk instead (`infra.uploads`).

A client that sends slowly, waits or reads slowly costs a connection and no thread. What is held in memory for all
clients together is bounded. Of a download one piece is held: the next is read when the client has taken the last.
"""
from __future__ import annotations

import asyncio
import io
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import flask

from infra.lanes import RETRY_AFTER_S, Lane
from infra.stream_hub import StreamHub
from infra.uploads import ClientGone, Uploads, is_upload
from shared.api.authorization import IS_LOCAL
from shared.api.content import TAKES_CONTENT, Content
from shared.api.event_stream import TAKES_STREAMS, Stream
from shared.api.http_errors import error_response, marked, own_id
from shared.api.task_files import PIECE_BYTES as CONTENT_BYTES
from shared.api.uploads import TAKES_UPLOADS
from shared.errors import AppError, Busy, PayloadTooLarge

HELD_BYTES = 64 << 20  # bodies of requests that are not answered and answers that are not sent, of one process
FREE_BYTES = 32 << 10  # of each request and its answer: they are not counted, so that small ones are always served
DRAIN_BYTES = 32 << 20  # of a body that is too large: read so that its client sees the answer
CONTENT_HELD = 2 * CONTENT_BYTES  # of a download: its piece, and what the server has not sent of it
READERS = 4  # threads that read the next pieces of downloads, of one process
PIECE_BYTES = 64 << 10  # of an answer: the server holds no more of it for a client that reads slowly

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    stream: Stream | None = None
    content: Content | None = None

    @classmethod
    def of(cls, response: flask.Response) -> Answer:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
        return cls(response.status_code, headers, response.get_data())


class Held:
    """Bytes that this process holds for its clients, beyond what each may have anyway."""

    size = 0


class Share:
    """What is held for one request."""

    def __init__(self, held: Held) -> None:
        self._held, self._size, self._counted = held, 0, 0

    def hold(self, size: int) -> None:
        """Count bytes more.

        Raises:
            Busy: too much is held for all clients together.
        """
        beyond = max(0, self._size + size - FREE_BYTES)
        if beyond and self._held.size + beyond - self._counted > HELD_BYTES:
            raise Busy("服务繁忙, 请稍后重试", "too much is held for other clients: try again later", RETRY_AFTER_S)
        self._size += size
        self._held.size += beyond - self._counted
        self._counted = beyond

    def give_back(self) -> None:
        self._held.size -= self._counted
        self._size = self._counted = 0


class Front:
    """An ASGI application. `lanes` are the threads by their names, `lane_of` tells the name for a method and a path.
    `is_local`: nobody but this machine reaches the server."""

    def __init__(self, app: flask.Flask, lanes: dict[str, Lane], lane_of: Callable[[str, str], str],
                 max_body_bytes: int, *, is_local: bool) -> None:
        self._is_local = is_local
        self._app, self._lanes, self._lane_of = app, lanes, lane_of
        self._max_body_bytes = max_body_bytes
        self._hub = StreamHub()
        self._uploads = Uploads()
        self._readers = ThreadPoolExecutor(READERS, "readers")
        self._held = Held()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")
        environ = make_environ(scope) | {IS_LOCAL: self._is_local}
        share = Share(self._held)
        try:
            try:
                if is_upload(scope["method"], scope["path"]):
                    answer = Answer.of(await self._uploads.take(scope["raw_path"], flask.Request(environ), receive))
                else:
                    environ["wsgi.input"] = io.BytesIO(await self._read(environ, receive, share))
                    lane = self._lanes[self._lane_of(scope["method"], scope["path"])]
                    answer = await lane.run(lambda: call(self._app, environ))
                share.hold(len(answer.body) if answer.content is None else CONTENT_HELD)
            except AppError as error:
                answer = _refusal(environ, error)
            except ClientGone:
                return
            if answer.stream is not None:
                await self._send_stream(answer, receive, send)
            elif answer.content is not None:
                await self._send_content(answer, receive, send)
            else:
                await _send(answer, send)
        finally:
            share.give_back()

    async def _read(self, environ: dict[str, Any], receive: Receive, share: Share) -> bytes:
        """The body, or a byte more of it than a body may have: the function then refuses it.

        Raises:
            Busy, PayloadTooLarge, ClientGone.
        """
        declared = environ.get("CONTENT_LENGTH", "")
        too_large = declared.isdigit() and int(declared) > self._max_body_bytes
        body, seen = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            seen += len(chunk)
            if seen > DRAIN_BYTES:
                raise PayloadTooLarge("请求体过大", "the body is too large")
            if chunk and not too_large:
                kept = chunk[:self._max_body_bytes + 1 - len(body)]
                share.hold(len(kept))
                body += kept
            if not message.get("more_body"):
                return bytes(body)

    async def _send_stream(self, answer: Answer, receive: Receive, send: Send) -> None:
        stream = answer.stream
        assert stream is not None
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            async with aclosing(self._hub.follow(stream, receive)) as all_frames:
                async for frames in all_frames:
                    await send({"type": "http.response.body", "body": frames, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            stream.close()

    async def _send_content(self, answer: Answer, receive: Receive, send: Send) -> None:
        """A client whose answer breaks off sees that it is not whole: it has a length, or no end."""
        content, gone = answer.content, asyncio.ensure_future(receive())  # nothing but the connection's end comes
        assert content is not None
        loop = asyncio.get_running_loop()
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            while not gone.done():
                piece = await loop.run_in_executor(self._readers, content.read)
                await send({"type": "http.response.body", "body": piece, "more_body": bool(piece)})
                if not piece:
                    return
        except AppError as error:
            logger.warning("a download breaks off: %s", error)
        finally:
            gone.cancel()
            content.close()

    def close(self) -> None:
        self._hub.close()
        self._uploads.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        for lane in self._lanes.values():
            lane.close()


async def _send(answer: Answer, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    body = memoryview(answer.body)
    for start in range(0, len(body), PIECE_BYTES):
        more = start + PIECE_BYTES < len(body)
        await send({"type": "http.response.body", "body": bytes(body[start:start + PIECE_BYTES]), "more_body": more})
    if not body:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def call(app: flask.Flask, environ: dict[str, Any]) -> Answer:
    """What the app answers; to be called in a thread. A stream or a download is given back instead of being served
    there."""
    streams: list[Stream] = []
    contents: list[Content] = []
    environ[TAKES_STREAMS], environ[TAKES_CONTENT] = streams.append, contents.append
    environ[TAKES_UPLOADS] = True
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], object]:
        started[:] = [int(status.split(" ", 1)[0]),
                      [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]]
        return lambda _: None

    parts = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close:
            close()
    status, headers = started
    if streams and environ["REQUEST_METHOD"] == "HEAD":
        streams.pop().close()
    if streams:
        headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return Answer(status, headers, body, streams[0] if streams else None, contents[0] if contents else None)


def _refusal(environ: dict[str, Any], error: AppError) -> Answer:
    """The error form for what no function answers. The client may be sending still, so the connection ends."""
    request = flask.Request(environ)
    response = marked(error_response(request, error), request, own_id(request))
    response.headers["Connection"] = "close"
    return Answer.of(response)


def make_environ(scope: Mapping[str, Any]) -> dict[str, Any]:
    """PEP 3333's environment of a request, without its body."""
    host, port = scope.get("server") or ("127.0.0.1", None)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host, "SERVER_PORT": str(port or ""),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0), "wsgi.url_scheme": scope["scheme"], "wsgi.errors": sys.stderr,
        "wsgi.input": io.BytesIO(), "wsgi.input_terminated": True,
        "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:  # `a_b` and `a-b` would be one variable: a client could smuggle a proxy's header
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ
