"""A TCP proxy that fails on demand: cuts, swallows, or holds back what passes."""
from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

CHUNK_BYTES = 1 << 16


class Proxies:
    """Proxies on loopback, all served by one thread; a context."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)

    def __enter__(self) -> Proxies:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60.0)
        self._loop.close()

    async def _end(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def open(self, port: int) -> Proxy:
        """A proxy before 127.0.0.1:port."""
        proxy = Proxy(self._loop, port)
        asyncio.run_coroutine_threadsafe(proxy._listen(), self._loop).result(60.0)
        return proxy


class Proxy:
    """Its methods may be called from any thread, and return at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream_port: int) -> None:
        self._loop, self._upstream_port = loop, upstream_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = self._is_deaf = False

    def cut(self) -> None:
        """All connections end, and new ones are refused, until `heal`."""
        self._do(self._cut)

    def hold(self) -> None:
        """Nothing passes; it arrives late, at `heal`."""
        self._do(self._flows.clear)

    def deafen(self) -> None:
        """What the client sends arrives, the answers do not; at `heal` its connections end."""
        self._do(lambda: setattr(self, "_is_deaf", True))

    def heal(self) -> None:
        self._do(self._heal)

    def close(self) -> None:
        self._do(lambda: (self._heal(), self._cut(), self._server.close()))

    def _do(self, action: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(action)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def _cut(self) -> None:
        self._refuses = True
        for writer in self._writers:
            writer.transport.abort()

    def _heal(self) -> None:
        if self._is_deaf:
            for writer in self._writers:
                writer.transport.abort()
        self._refuses = self._is_deaf = False
        self._flows.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        if self._refuses:
            writer.transport.abort()
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pass_on(reader, up_writer), self._pass_on(up_reader, writer, is_answer=True))
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *,
                       is_answer: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._flows.wait()
                if not (is_answer and self._is_deaf):
                    writer.write(data)
                    await writer.drain()
        writer.transport.abort()
