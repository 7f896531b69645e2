"""All event streams of a process, followed from one place: one read of the store for all of them, twice a second."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shared.api.event_stream import BEGINNING, POLL_S, Stream, get_streams
from shared.deps import get_store
from shared.documents import Task
from shared.errors import Unavailable, UnreadableDocument

logger = logging.getLogger(__name__)


class StreamHub:
    """Used by the event loop's thread alone; the store is read in a thread of the hub's own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "streams")
        self._waiting: dict[Stream, asyncio.Future[bytes]] = {}
        self._turns: asyncio.Task[None] | None = None

    async def follow(self, stream: Stream, receive: Callable[[], Awaitable[Any]]) -> AsyncGenerator[bytes, None]:
        """What the client is to be sent, until the stream is over or the client is gone. A client that has not taken
        its last frames yet is passed over."""
        gone = asyncio.ensure_future(receive())  # nothing but the end of the connection comes
        try:
            yield BEGINNING
            while not gone.done():
                frames = await self._next(stream)
                if frames:
                    yield frames
                if stream.over or get_streams().closed.is_set():
                    return
        finally:
            gone.cancel()
            self._waiting.pop(stream, None)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _next(self, stream: Stream) -> bytes:
        news = self._waiting[stream] = asyncio.get_running_loop().create_future()
        if self._turns is None:
            self._turns = asyncio.create_task(self._take_turns())
        return await news

    async def _take_turns(self) -> None:
        """Give each that waits its frames, again and again while any waits; a stream begins with a look at once."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                try:
                    frames = await loop.run_in_executor(self._pool, look, list(waiting))
                except Exception as error:
                    for news in waiting.values():
                        if not news.done():
                            news.set_exception(error)
                else:
                    for news, found in zip(waiting.values(), frames, strict=True):
                        if not news.done():
                            news.set_result(found)
                await asyncio.sleep(POLL_S)
        finally:
            self._turns = None


def look(streams: list[Stream]) -> list[bytes]:
    """The frames of each stream; while the store is away, heartbeats."""
    try:
        tasks = get_store().get_many(sorted({stream.task_id for stream in streams}))
    except Unavailable as error:
        logger.warning("the events of %d streams wait: %s", len(streams), error)
        return [stream.wait() for stream in streams]
    return [_turn(stream, tasks.get(stream.task_id)) for stream in streams]


def _turn(stream: Stream, task: Task | UnreadableDocument | None) -> bytes:
    if isinstance(task, UnreadableDocument):
        stream.end()  # the client connects anew, and is told why
        return b""
    try:
        return stream.turn(task)
    except Unavailable as error:
        logger.warning("the events of task %s wait: %s", stream.task_id, error)
        return stream.wait()
