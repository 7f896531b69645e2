"""What a worker does beside its tasks so that nothing grows for ever.

It tells which results are in use, hears which are gone, removes from the cache bucket what nobody needs, removes tasks
and uploads whose lifetimes are over, and lets the store's file shrink. In a thread of its own, in small steps: no claim
waits for it, and no reaping.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from shared.cached.collector import Collector, Report
from shared.cached.deletions import Deletions
from shared.cached.notices import LIFE_S, find_notices, read_notice, write_notice
from shared.cached.turns import Turns
from shared.errors import Unavailable
from shared.files import Files
from shared.lifetimes.passes import Lifetimes
from shared.settings import Settings
from shared.store import Store
from worker.cache import StageCache

logger = logging.getLogger(__name__)

TIDY_STEPS = 10  # of the store's file, each time
BREATH_S = 0.005  # between two requests of a pass
GONE_LIFE_S = 600.0  # how long after a task's end its deletion may turn out to be one with a purge


class Closed(Exception):
    """The worker ends; the pass ends where it is."""


class Housekeeper:
    def __init__(self, files: Files, store: Store, cache: StageCache, settings: Settings) -> None:
        self._files, self._store, self._cache, self._settings = files, store, cache, settings
        self._turns = Turns(files, settings.cache_bucket, settings.gc_every_s)
        self._collector = Collector(files, store, settings, pause=self._breathe)
        self._deletions = Deletions(files, store, settings)
        self._lifetimes = Lifetimes(files, store, settings, pause=self._breathe)
        self._heard: set[str] = set()  # notices
        self._purging: set[str] = set()  # keys of copies here that are to go
        self._purged_tasks: set[str] = set()
        self._purge_asked_at: float | None = None  # the object store's time
        self._gone: list[tuple[float, str, list[str]]] = []  # tasks deleted under a claim here, and since when
        self._closed = threading.Event()
        cache.begin_to_hear(LIFE_S / 2)
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(2.0)  # it has nothing to lose

    def _run(self) -> None:
        steps: tuple[Callable[[], None], ...] = (self._hear, self._deletions.look, self._purge_here,
                                                 self._cache.tell_uses, self._collect, self._tidy)
        while not self._closed.wait(self._settings.sweep_s):
            try:
                for step in steps:
                    step()
            except Closed:
                return
            except Unavailable as error:
                logger.warning("the housekeeping waits: %s", error)
            except Exception:
                logger.exception("a step of the housekeeping failed")

    def _hear(self) -> None:
        present = set()
        for info in find_notices(self._files, self._settings.cache_bucket):
            present.add(info.path)
            if info.path in self._heard:
                continue
            notice = read_notice(self._files, info)
            if notice:
                self._cache.forget_shared(notice.keys)
            if notice and notice.kind == "purge":
                self._purging |= notice.keys - self._store.stage_keys(among=notice.keys)
                self._purged_tasks |= notice.tasks
                self._purge_asked_at = max(self._purge_asked_at or 0.0, notice.written_at)
            self._heard.add(info.path)
        self._heard &= present
        self._cache.note_heard()
        self._purge_late()

    def _purge_late(self) -> None:
        """Results of tasks that were deleted while a claim here had them: the deletion could not know of the last."""
        while self._cache.of_deleted:
            self._gone.append((time.monotonic(), *self._cache.of_deleted.popleft()))
        self._gone = [one for one in self._gone if time.monotonic() - one[0] < GONE_LIFE_S]
        for one in [one for one in self._gone if one[1] in self._purged_tasks]:
            write_notice(self._files, self._settings.cache_bucket, "purge", one[2], [one[1]])
            self._gone.remove(one)

    def _purge_here(self) -> None:
        """The copies on this machine; one that a claim holds goes later."""
        self._purging = {key for key in self._purging if not self._cache.purge(key)}

    def _collect(self) -> None:
        if not self._turns.take(self._purge_asked_at):
            return
        log_report(self._collector.run())
        removed = self._lifetimes.run()
        if removed.counts:
            logger.info("old tasks and unused uploads were removed", extra={"removed": dict(removed.counts)})

    def _tidy(self) -> None:
        for _ in range(TIDY_STEPS):
            if not self._store.tidy():
                return
            self._breathe()

    def _breathe(self) -> None:
        if self._closed.wait(BREATH_S):
            raise Closed


def log_report(report: Report) -> None:
    if report.counts:
        logger.info("the cache bucket was cleaned", extra={
            "removed": dict(report.counts), "removed_bytes": dict(report.sizes), "kept": report.kept_count,
            "kept_bytes": report.kept_bytes})
