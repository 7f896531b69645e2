"""One pass over old tasks and unused uploads: what it removes, or would."""
from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.cached.clock import read_clock
from shared.files import Files
from shared.lifetimes.leaving import note_leaving
from shared.lifetimes.tasks import find_old, remove_old
from shared.lifetimes.uploads import find_unused, forget_others, remove_unused
from shared.settings import Settings
from shared.store import Store


@dataclass
class Removed:
    """What was removed, or would be: `{kind: how many}`, and a line for each. `waiting` are the uploads that go in a
    later pass."""

    counts: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)
    waiting: int = 0

    def add(self, kind: str, line: str) -> None:
        self.counts[kind] += 1
        self.lines.append(line)


class Lifetimes:
    """`pause` is called between small steps. Whatever it raises ends the pass; the next one goes on."""

    def __init__(self, files: Files, store: Store, settings: Settings, *, dry_run: bool = False,
                 pause: Callable[[], None] = lambda: None) -> None:
        self._files, self._store, self._settings = files, store, settings
        self._dry_run, self._pause = dry_run, pause

    def run(self) -> Removed:
        """One pass.

        Raises:
            Unavailable: the object store or the store does not answer.
        """
        removed = Removed()
        if self._settings.task_life_s is not None:
            self._run_tasks(self._settings.task_life_s, removed)
        if self._settings.upload_life_s is not None:
            self._run_uploads(self._settings.upload_life_s, removed)
        return removed

    def _run_tasks(self, life_s: float, removed: Removed) -> None:
        # Workers' clocks have written the times. Of this clock and the object store's the slower one decides, so that
        # one wrong clock does not make every task old.
        now = min(time.time(), read_clock(self._files, self._settings.cache_bucket))
        for task in find_old(self._store, now, life_s, self._pause):
            self._pause()
            if self._dry_run or remove_old(self._files, self._store, self._settings, task):
                removed.add("old tasks", f"task {task.id}, {task.status.value}")

    def _run_uploads(self, life_s: float, removed: Removed) -> None:
        unused = find_unused(self._files, self._store, self._settings, life_s, self._pause)
        for upload in unused:
            self._pause()
            if self._dry_run or upload.may_go:
                removed.add("unused uploads", f"upload {upload.id}, {upload.size_bytes} bytes")
            else:
                removed.waiting += 1
            if self._dry_run:
                continue
            if upload.may_go:
                remove_unused(self._files, self._settings, upload)
            elif not upload.noted:
                note_leaving(self._files, self._settings, upload.id)
        if not self._dry_run:
            forget_others(self._files, self._settings, unused)
