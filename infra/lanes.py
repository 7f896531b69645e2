"""Threads for requests, by what the requests cost. Those that wait for a thread hold none."""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from shared.errors import Busy

RETRY_AFTER_S = 2

Result = TypeVar("Result")


class Lane:
    """`threads` requests run at once, `waiting` more wait in their order, each for `wait_s` at most."""

    def __init__(self, name: str, threads: int, waiting: int, wait_s: float) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._places = asyncio.Semaphore(threads)
        self._room = threads + waiting
        self._wait_s = wait_s

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` answers, from a thread of this lane.

        Raises:
            Busy: too many wait, or no thread became free in time; `work` was not begun.
        """
        if not self._room:
            raise _busy()
        self._room -= 1
        try:
            if self._places.locked():
                try:
                    await asyncio.wait_for(self._places.acquire(), self._wait_s)
                except TimeoutError:
                    raise _busy() from None
            else:
                await self._places.acquire()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
            finally:
                self._places.release()
        finally:
            self._room += 1

    def close(self) -> None:
        """Begin nothing more. What runs goes on."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _busy() -> Busy:
    return Busy("请求过多, 请稍后重试", "too many requests of this kind: try again later", RETRY_AFTER_S)
