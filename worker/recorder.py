"""Shares finished stages and records them in the task, beside the next stage's run.

A stage is recorded only when its result can be had by every worker: what the document calls finished never runs again.
Stages that finish meanwhile (or come from the cache) are recorded in one write.
"""
from __future__ import annotations

import queue
import threading

from shared.models import StageRecord
from worker.cache import StageCache, StageResult
from worker.lease import Lease


class Recorder:
    """For one claim. One thread of its own; the other methods are the runner's."""

    def __init__(self, cache: StageCache, lease: Lease) -> None:
        self._cache, self._lease = cache, lease
        self.records: list[StageRecord] = []
        self._queue: queue.SimpleQueue[tuple[StageResult | None, list[StageRecord] | None]] = queue.SimpleQueue()
        self._pending = 0
        self._settled = threading.Condition()
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    def add(self, record: StageRecord, result: StageResult, *, new: bool, known: bool) -> None:
        """Take in a finished stage: `new` results are shared first; `known` ones are in the document already."""
        self.records.append(record)
        if known:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"recorder-{self._lease.task.id}", daemon=True)
            self._thread.start()
        with self._settled:
            self._pending += 1
        self._queue.put((result if new else None, list(self.records)))

    def settle(self) -> None:
        """Wait until everything added is recorded, or cannot be."""
        with self._settled:
            self._settled.wait_for(lambda: self._pending == 0)

    def flush(self) -> list[StageRecord]:
        """Settle, and answer all of the task's records.

        Raises:
            Unavailable: a result could not be shared; its stage and the later ones are not recorded.
        """
        self.settle()
        if self._error is not None:
            raise self._error
        return self.records

    def close(self) -> None:
        if self._thread is not None:
            self._queue.put((None, None))
            self._thread.join()

    def _run(self) -> None:
        while True:
            items = [self._queue.get()]
            while not self._queue.empty():
                items.append(self._queue.get())
            ended = items[-1][1] is None
            work = [item for item in items if item[1] is not None]
            try:
                self._record(work)
            except Exception as error:
                self._error = self._error or error
            with self._settled:
                self._pending -= len(work)
                self._settled.notify_all()
            if ended:
                return

    def _record(self, work: list[tuple[StageResult | None, list[StageRecord] | None]]) -> None:
        if not work or self._error is not None:
            return
        for result, _ in work:
            if result is not None:
                self._cache.share(result)
        self._lease.commit_stages(work[-1][1] or [])
