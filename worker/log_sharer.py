"""Stores running stages' logs where GET /tasks/{task_id}/log reads them: anew while they grow, and at the stage's end.

Best effort and beside the work: an object store that is away costs log lines, never a stage.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import AppError
from shared.files import Files
from shared.settings import Settings
from shared.task_logs import MAX_LOG_BYTES, delete_logs, log_path
from worker.stage_log import read_end, size_bytes

logger = logging.getLogger(__name__)

EVERY_S = 1.0


@dataclass(eq=False)
class _Followed:
    task_id: str
    stage: str
    path: Path
    stored_bytes: int = 0


class LogSharer:
    """One thread for all of a worker's tasks. `scratch` is a folder of the worker's own."""

    def __init__(self, files: Files, settings: Settings, scratch: Path) -> None:
        self._files, self._settings, self._scratch = files, settings, scratch
        self._running: list[_Followed] = []  # one task may be here twice: an old claim that ends, and the next
        self._ended: list[tuple[str, str | None, bytes]] = []  # no stage: the task's logs are to be removed
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-sharer", daemon=True)
        self._thread.start()

    @contextmanager
    def following(self, task_id: str, stage: str, path: Path) -> Iterator[None]:
        """Store the log at `path` while the stage runs, and what it is at the end."""
        followed = _Followed(task_id, stage, path)
        with self._wake:
            self._running.append(followed)
        try:
            yield
        finally:
            with self._wake:
                self._running.remove(followed)
                if size_bytes(path) > followed.stored_bytes:
                    self._ended.append((task_id, stage, read_end(path, MAX_LOG_BYTES)))
                    self._wake.notify()

    def remove(self, task_id: str) -> None:
        """The task is gone: its logs go too, after whatever is still to be stored."""
        with self._wake:
            self._ended.append((task_id, None, b""))
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
                grown = []
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + EVERY_S
                    for one in self._running:
                        now_bytes = size_bytes(one.path)
                        if now_bytes > one.stored_bytes:
                            grown.append((one.task_id, one.stage, read_end(one.path, MAX_LOG_BYTES)))
                            one.stored_bytes = now_bytes
            for task_id, stage, content in [*grown, *ended]:
                self._store(task_id, stage, content)

    def _store(self, task_id: str, stage: str | None, content: bytes) -> None:
        try:
            if stage is None:
                delete_logs(self._files, self._settings, task_id)
                return
            held = self._scratch / "log-to-store"
            held.write_bytes(content)
            self._files.upload(held, log_path(self._settings, task_id, stage))
        except (AppError, OSError) as error:
            logger.warning("a log is not stored: %s", error, extra={"task_id": task_id, "stage": stage})
