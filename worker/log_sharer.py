"""Stores running stages' logs where GET /tasks/{task_id}/log reads them: anew while they grow, and at the stage's end.

What is stored has been cleaned, as all that clients see of a tool. It only grows, by whole lines: who reads on by byte
ranges reads each byte once. A log that becomes too long loses its older half (`shared.task_logs`), so that it is
shorter than what such a client has read.

Best effort and beside the work: an object store that is away costs log lines, never a stage.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import AppError
from shared.files import Files
from shared.settings import Settings
from shared.task_logs import MAX_LOG_BYTES, delete_logs, log_path
from worker.log_cleaning import LogCleaner
from worker.stage_log import PASSED_OVER, read_on

logger = logging.getLogger(__name__)

EVERY_S = 1.0


@dataclass(eq=False)
class _Followed:
    task_id: str
    stage: str
    path: Path
    cleaner: LogCleaner
    position: int = 0  # in the log as the tool writes it
    content: bytearray = field(default_factory=bytearray)  # to be stored
    stored: bool = True  # all of it

    def read_on(self) -> bytes:
        data, self.position = read_on(self.path, self.position, MAX_LOG_BYTES)
        return data

    def add(self, data: bytes, ended: bool = False) -> bool:
        """Whether that adds anything to what is to be stored."""
        clean = self.cleaner.take(data, ended).encode()
        self.content += clean
        self.stored = self.stored and not clean
        if len(self.content) > MAX_LOG_BYTES:
            first = self.content.find(b"\n", len(self.content) - MAX_LOG_BYTES // 2) + 1
            self.content[:first] = PASSED_OVER
        return bool(clean)


class LogSharer:
    """One thread for all of a worker's tasks. `scratch` is a folder of the worker's own."""

    def __init__(self, files: Files, settings: Settings, scratch: Path) -> None:
        self._files, self._settings, self._scratch = files, settings, scratch
        self._running: list[_Followed] = []  # one task may be here twice: an old claim that ends, and the next
        self._ended: list[tuple[_Followed, bytes] | str] = []  # a task's id: its logs are to be removed
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-sharer", daemon=True)
        self._thread.start()

    @contextmanager
    def following(self, task_id: str, stage: str, path: Path) -> Iterator[None]:
        """Store the log at `path` while the stage runs, and what it is at the end."""
        followed = _Followed(task_id, stage, path, LogCleaner(path.parent))
        with self._wake:
            self._running.append(followed)
        try:
            yield
        finally:
            with self._wake:
                self._running.remove(followed)
                self._ended.append((followed, followed.read_on()))
                self._wake.notify()

    def remove(self, task_id: str) -> None:
        """The task is gone: its logs go too, after whatever is still to be stored."""
        with self._wake:
            self._ended.append(task_id)
            self._wake.notify()

    def close(self) -> None:
        """Store what ended; returns within a few seconds."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        next_look = time.monotonic()
        while True:
            with self._wake:
                if not self._ended and not self._closed:
                    self._wake.wait(max(0.0, next_look - time.monotonic()))
                ended, self._ended = self._ended, []
                if self._closed and not ended:
                    return
                grown: list[tuple[_Followed, bytes]] = []
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + EVERY_S
                    grown = [(one, data) for one in self._running if (data := one.read_on())]
            for one, data in grown:
                if one.add(data):
                    self._store(one)
            for job in ended:
                if isinstance(job, str):
                    self._remove(job)
                    continue
                one, data = job
                one.add(data, ended=True)
                if not one.stored:
                    self._store(one)

    def _store(self, log: _Followed) -> None:
        with self._best_effort("a log is not stored", log.task_id, log.stage):
            held = self._scratch / "log-to-store"
            try:
                held.write_bytes(log.content)
                self._files.upload(held, log_path(self._settings, log.task_id, log.stage))
            finally:
                held.unlink(missing_ok=True)  # also half of it, from a disk that is full
            log.stored = True

    def _remove(self, task_id: str) -> None:
        with self._best_effort("logs are not removed", task_id):
            delete_logs(self._files, self._settings, task_id)

    @staticmethod
    @contextmanager
    def _best_effort(what: str, task_id: str, stage: str | None = None) -> Iterator[None]:
        try:
            yield
        except (AppError, OSError) as error:
            logger.warning("%s: %s", what, error, extra={"task_id": task_id, "stage": stage})
