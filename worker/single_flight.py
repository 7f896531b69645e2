"""A stage that several tasks need at the same moment runs once on this machine; the others wait for its result."""
from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from worker.control import TaskControl, Wanted

LOOK_S = 0.1


class SingleFlight:
    """Locks by a stage's key, in a folder that all workers of this machine share. A lock ends with its process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def alone(self, key: str, control: TaskControl, check: Callable[[], None]) -> Iterator[None]:
        """Inside, nobody else here computes `key`; somebody may have done so just before.

        Waiting goes on as long as `check` raises nothing. A paused or stopped task gives its lock away, since it may
        stand still, or hang where it cannot be stopped: then both compute, which costs time only.
        """
        while (lock := _try_lock(self._folder / f"{key}.lock")) is None:
            check()
            time.sleep(LOOK_S)
        control.when_interrupted = lock.give_away
        try:
            if control.wanted in (Wanted.PAUSE, Wanted.STOP):  # just before it could be told
                lock.give_away()
            yield
        finally:
            control.when_interrupted = None
            lock.give_away()


class _Lock:
    """A held lock; `give_away` may be called twice, and by two threads."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self._once = threading.Lock()

    def give_away(self) -> None:
        """Unlinked while it is held, so that whoever opened it meanwhile sees that it is void."""
        with self._once:
            if not self._file.closed:
                with suppress(FileNotFoundError):
                    self._path.unlink()
                self._file.close()


def _try_lock(path: Path) -> _Lock | None:
    path.parent.mkdir(parents=True, exist_ok=True)  # again and again: a cache may be cleared at any time
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_nlink:
            return _Lock(path, file)
    except BlockingIOError:
        pass
    file.close()  # held, or unlinked by its last holder between our two steps
    return None
