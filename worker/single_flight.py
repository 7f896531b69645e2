"""A stage that several tasks need at the same moment runs once on this machine; the others wait for its result."""
from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO

from worker.control import TaskControl, Wanted

LOOK_S = 0.1
TOUCH_S = 0.5
SAY_AFTER_S = 1.0


class SingleFlight:
    """Locks by a stage's key, in a folder that all workers of this machine share. A lock ends with its process; that
    of a process which stands still for `stale_s` is passed over. Each waiting process measures that by its own clock.
    """

    def __init__(self, folder: Path, stale_s: float) -> None:
        self._folder, self._stale_s = folder, stale_s
        self._held: set[_Lock] = set()
        self._changed = threading.Condition()
        self._toucher: threading.Thread | None = None
        for path in folder.glob("*.lock"):  # of killed processes
            if lock := _try_lock(path):
                lock.give_away()

    @contextmanager
    def alone(self, key: str, control: TaskControl, check: Callable[[], None],
              waiting: Callable[[], AbstractContextManager[Callable[[], None]]]) -> Iterator[None]:
        """Inside, nobody else here computes `key`; somebody may have done so just before.

        Waiting goes on as long as `check` raises nothing. It happens inside `waiting`, which gives the function that
        makes a wait known; that is called when the wait has lasted a moment. A paused or stopped task gives its lock
        away, since it may stand still, or hang where it cannot be stopped: then both compute, which costs time only.
        """
        with waiting() as say:
            lock = self._wait_for(self._folder / f"{key}.lock", check, say)
        if lock is None:
            yield
            return
        self._hold(lock)
        control.when_interrupted = lock.give_away
        try:
            if control.wanted in (Wanted.PAUSE, Wanted.STOP):  # just before it could be told
                lock.give_away()
            yield
        finally:
            control.when_interrupted = None
            with self._changed:
                self._held.discard(lock)
            lock.give_away()

    def _wait_for(self, path: Path, check: Callable[[], None], say: Callable[[], None]) -> _Lock | None:
        """The lock, or None where its holder stands still."""
        seen, began = -1, time.monotonic()
        since = began
        while (lock := _try_lock(path)) is None:
            check()
            if time.monotonic() - began > SAY_AFTER_S:
                say()
            with suppress(FileNotFoundError):
                touched = path.stat().st_mtime_ns
                if touched != seen:
                    seen, since = touched, time.monotonic()
            if time.monotonic() - since > self._stale_s:
                return None
            time.sleep(LOOK_S)
        return lock

    def _hold(self, lock: _Lock) -> None:
        with self._changed:
            self._held.add(lock)
            if self._toucher is None:
                self._toucher = threading.Thread(target=self._touch, name="single-flight", daemon=True)
                self._toucher.start()
            self._changed.notify()

    def _touch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held)
                held = list(self._held)
            for lock in held:
                lock.touch()
            time.sleep(TOUCH_S)


class _Lock:
    """A held lock; `give_away` may be called twice, and by two threads."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self._guard = threading.Lock()

    def touch(self) -> None:
        with self._guard:
            if not self._file.closed:
                os.utime(self._file.fileno())

    def give_away(self) -> None:
        """Unlinked while it is held, so that whoever opened it meanwhile sees that it is void."""
        with self._guard:
            if not self._file.closed:
                with suppress(FileNotFoundError):
                    self._path.unlink()
                self._file.close()


def _try_lock(path: Path) -> _Lock | None:
    path.parent.mkdir(parents=True, exist_ok=True)  # again and again: a cache may be cleared at any time
    file = path.open("ab")  # opened by those who wait too: it must not change the time of the last touch
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file.fileno()).st_nlink:
            return _Lock(path, file)
    except BlockingIOError:
        pass
    file.close()  # held, or unlinked by its last holder between our two steps
    return None
