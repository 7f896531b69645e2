"""Threads for requests, by what the requests cost. Those that wait for a thread hold none."""
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

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
        self._outcomes: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._told = False  # the loop knows that there are outcomes

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
                loop = asyncio.get_running_loop()
                future: asyncio.Future[Result] = loop.create_future()
                self._pool.submit(self._work, work, future, loop)
                return await future
            finally:
                self._places.release()
        finally:
            self._room += 1

    def _work(self, work: Callable[[], Any], future: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        """In a thread. Outcomes that come close together wake the loop once, which `run_in_executor` does for each."""
        outcome, failure = None, None
        try:
            outcome = work()
        except BaseException as error:
            failure = error
        self._outcomes.append((future, outcome, failure))
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop has ended, and all who wait in it
                loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        """In the loop."""
        self._told = False  # first, so that what comes from here on is told again
        while self._outcomes:
            future, outcome, failure = self._outcomes.popleft()
            if future.done():  # whoever waited is gone
                continue
            if failure is None:
                future.set_result(outcome)
            else:
                future.set_exception(failure)

    def close(self) -> None:
        """Begin nothing more. What runs goes on."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _busy() -> Busy:
    return Busy("请求过多, 请稍后重试", "too many requests of this kind: try again later", RETRY_AFTER_S)
