"""`python -m tests.integration.killed_sender N before|after`: a sender that kills itself at its Nth step, and tells
which one it was. It ends well if it has fewer. Steps are the calls of the store, and the request that it sends."""
from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.deps import get_store
from shared.settings import get_settings
from tests.integration.announcing_kit import look_once
from worker import calls

LEASE_S = 0.5  # how long its successors wait for it


class Steps:
    def __init__(self, number: int, when: str) -> None:
        self._number, self._when, self._done = number, when, 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._done += 1
        here = self._done == self._number
        if here:
            print(name, flush=True)
        self._die_if(here and self._when == "before")
        yield
        self._die_if(here and self._when == "after")

    def _die_if(self, so: bool) -> None:
        if so:
            os.kill(os.getpid(), signal.SIGKILL)


class SteppingStore:
    def __init__(self, steps: Steps) -> None:
        self._store, self._steps = get_store(), steps

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._steps.step(name):
                return getattr(self._store, name)(*arguments, **options)
        return call


def main() -> None:
    steps = Steps(int(sys.argv[1]), sys.argv[2])
    send, calls.LEASE_S = calls.send, LEASE_S

    def sending(*arguments: Any, **options: Any) -> Any:
        with steps.step("send"):
            return send(*arguments, **options)

    calls.send = sending
    store: Any = SteppingStore(steps)
    look_once(store, get_settings())


if __name__ == "__main__":
    main()
