"""Shares finished stages and records them in the task, beside the next stage's run.

A stage is recorded only when its result can be had by every worker: what the document calls finished never runs again.
Stages that finish meanwhile (or come from the cache) are recorded in one write. While the object store is away a result
waits, as a write to the task does; only who needs the outcome now (`settle`) cuts the waiting short.
"""
from __future__ import annotations

import logging
import queue
import threading

from shared.documents import StageRecord
from shared.errors import StorageRefused, Unavailable
from worker.cache import StageCache
from worker.lease import Lease
from worker.results import StageResult

logger = logging.getLogger(__name__)

RETRY_S = 0.2
LONGEST_RETRY_S = 10.0

_Item = tuple[list[StageRecord], StageResult | None]


class Recorder:
    """For one claim. One thread of its own; the other methods are the runner's."""

    def __init__(self, cache: StageCache, lease: Lease) -> None:
        self._cache, self._lease = cache, lease
        self._records: dict[str, StageRecord] = {}
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._backlog: list[_Item] = []  # what could not be shared when it had to be at once
        self._pending = 0
        self._settled = threading.Condition()
        self._hurry = threading.Event()
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def records(self) -> list[StageRecord]:
        """All of the task's finished stages, in order."""
        return list(self._records.values())

    def add(self, record: StageRecord, *, known: bool, result: StageResult | None = None) -> None:
        """Take in a finished stage. A `result` is one that only this machine has: it is shared first. A stage that is
        `known` is in the document already, or has no place there yet."""
        self._records[record.name] = record
        if known:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"recorder-{self._lease.task.id}", daemon=True)
            self._thread.start()
        with self._settled:
            self._pending += 1
        self._queue.put((self.records, result))

    def forget(self, name: str) -> None:
        """The stage's work was undone."""
        self._records.pop(name, None)

    def start_again(self) -> None:
        """After a result was lost: what could not be shared is given up, its stages will be added again."""
        self.settle()
        self._backlog, self._error = [], None

    def settle(self) -> None:
        """Wait until everything added is recorded, or cannot be now."""
        self._hurry.set()
        with self._settled:
            self._settled.wait_for(lambda: self._pending == 0)
        self._hurry.clear()

    def flush(self) -> list[StageRecord]:
        """Settle, and answer all of the task's records.

        Raises:
            Unavailable: a result could not be shared; its stage and the later ones are not recorded. `StorageRefused`
                is one of these.
            NotFound: a result was lost before it was shared.
        """
        self.settle()
        if self._error is not None:
            raise self._error
        return self.records

    def close(self) -> None:
        if self._thread is not None:
            self._hurry.set()
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            items = [self._queue.get()]
            while not self._queue.empty():
                items.append(self._queue.get())
            ended = items[-1] is None
            work = [item for item in items if item is not None]
            try:
                self._record(work)
                self._error = None
            except Exception as error:
                logger.warning("finished stages are not recorded: %s", error, extra={"task_id": self._lease.task.id})
                self._error = error
            with self._settled:
                self._pending -= len(work)
                self._settled.notify_all()

    def _record(self, work: list[_Item]) -> None:
        self._backlog += work
        for _, result in self._backlog:
            if result is not None:
                self._share(result)
        if self._backlog:
            self._lease.commit_stages(self._backlog[-1][0])
            self._backlog = []

    def _share(self, result: StageResult) -> None:
        delay_s = RETRY_S
        with self._lease.waiting("files") as say:
            while True:
                last = self._hurry.is_set()
                try:
                    return self._cache.share(result)
                except StorageRefused:
                    raise
                except Unavailable as error:
                    if last:
                        raise
                    logger.warning("a finished stage waits to be shared: %s", error,
                                   extra={"task_id": self._lease.task.id})
                say()
                self._hurry.wait(delay_s)
                delay_s = min(delay_s * 2, LONGEST_RETRY_S)
