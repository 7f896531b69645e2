"""`PUT /uploads/TOKEN/bucket/key`: a body that goes to the disk while it comes, and is never held whole.

A client holds a connection and some pieces of `PIECE_BYTES`, and no thread while it sends: the pieces of all clients
are written by the few threads of one lane.
"""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

import flask

from infra.lanes import RETRY_AFTER_S, Lane
from shared.api.http_errors import json_response, marked, own_id, path_not_found
from shared.api.origins import check_host, check_origin
from shared.deps import get_grants
from shared.errors import AppError, Busy
from shared.files.local_grants import PREFIX, LocalGrants
from shared.files.local_incoming import Incoming
from shared.settings import get_settings
from shared.texts import Text

PIECE_BYTES = 256 << 10
DRAIN_BYTES = 96 << 20  # of a body that is refused: the largest that is granted, and more
AT_ONCE = 64  # of one process
THREADS = 4
WAIT_S = 60.0  # of a piece, where the disk is slow
RECEIVED = Text("已接收", "received")

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class ClientGone(Exception):
    """The client closed the connection, or the server did, since the client was too slow."""


def is_upload(method: str, path: str) -> bool:
    """Whether a request is an upload's, by its form: `/uploads/complete` is not."""
    return method == "PUT" and path.startswith(PREFIX) and "/" in path.removeprefix(PREFIX)


class Uploads:
    """Takes the uploads of one process of the gateway."""

    def __init__(self) -> None:
        self._lane = Lane("uploads", THREADS, waiting=2 * AT_ONCE, wait_s=WAIT_S)
        self._coming = 0

    async def take(self, raw_path: bytes, request: flask.Request, receive: Receive) -> flask.Response:
        """The answer, once the body is on the disk.

        Raises:
            AppError: the request is refused, or could not be kept.
            ClientGone: nothing is kept.
        """
        body = _Body(receive)
        try:
            check_host(request)
            check_origin(request)
            return await self._take(raw_path, request, body)
        except AppError:
            # A client that sends still, while nobody reads, sees its connection reset and no answer.
            if request.headers.get("Expect", "").lower() != "100-continue" or body.begun:
                await body.drain(get_settings().client_s)
            raise

    async def _take(self, raw_path: bytes, request: flask.Request, body: _Body) -> flask.Response:
        if self._coming >= AT_ONCE:
            raise Busy("上传过多, 请稍后重试", "too many uploads at once: try again later", RETRY_AFTER_S)
        self._coming += 1
        try:
            incoming = await self._lane.run(lambda: _open(raw_path, request))
            try:
                async for piece in body.pieces():
                    await self._lane.run(lambda piece=piece: incoming.write(piece))  # type: ignore[misc]
                etag = await self._lane.run(incoming.finish)
            except BaseException:
                await asyncio.to_thread(incoming.give_up)
                raise
        finally:
            self._coming -= 1
        response = json_response(request, {"success": True, "message": RECEIVED,
                                           "data": {"size_bytes": incoming.size_bytes}})
        response.set_etag(etag)
        return marked(response, request, own_id(request))

    def close(self) -> None:
        self._lane.close()


class _Body:
    """A request's body as the server hands it over."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.begun, self._over = False, False

    async def pieces(self) -> Any:
        """Of `PIECE_BYTES` or somewhat more, the last one apart: a disk takes few large pieces sooner than many.

        Raises:
            ClientGone.
        """
        piece = bytearray()
        while not self._over:
            piece += await self._next()
            if len(piece) >= PIECE_BYTES or self._over:
                yield bytes(piece)
                piece.clear()

    async def drain(self, limit_s: float) -> None:
        """Read the rest and forget it, of `DRAIN_BYTES` and `limit_s` seconds at most.

        Raises:
            ClientGone.
        """
        seen = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not self._over and seen < DRAIN_BYTES:
                    seen += len(await self._next())

    async def _next(self) -> bytes:
        self.begun = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._over = not message.get("more_body")
        return bytes(message.get("body", b""))


def _open(raw_path: bytes, request: flask.Request) -> Incoming:
    """Raises:
        NotFound: uploads are not taken here.
        Forbidden, InvalidRequest, Busy, Unavailable: as `LocalGrants.open` tells.
    """
    grants = get_grants()
    token, _, path = raw_path.removeprefix(PREFIX.encode()).partition(b"/")
    if not isinstance(grants, LocalGrants) or not token or not path:
        raise path_not_found(request)
    return grants.open(token.decode("latin-1"), unquote_to_bytes(path).decode(errors="replace"),
                       request.content_length if "Transfer-Encoding" not in request.headers else None)
