"""An owner's writes to its task: fenced by owner and epoch, and sure of their outcome.

While the store is away a write waits: the work is done, and nobody else reaps what nobody can read. A write whose
answer was lost may have taken place; before it is tried again the document is read, and its effect looked for.

A document that turns unreadable under its owner is nobody's to touch: the owner stops, as if another had the task.
"""
from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from shared import transitions
from shared.documents import TERMINAL, OwnersWait, StageRecord, Status, StoredFailure, Task, TaskResult
from shared.errors import Unavailable, UnreadableDocument
from shared.store import Store
from shared.transitions import Change
from worker.control import TaskControl

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

NOTED_OUTAGE_S = 5.0  # a shorter one is nothing that a client would look for


class Lease:
    """One claimed task. `control` learns from every answer of the store."""

    def __init__(self, store: Store, task: Task, control: TaskControl) -> None:
        self._store = store
        self.task = task
        self.owner, self.epoch = str(task.owner), task.epoch
        self.control = control
        self._stage: str | None = None
        self._told_lines: list[str] | None = []  # the document's log lines; None: they may be others
        self._recorded = {record.name for record in task.stages}
        self._stage_lock = threading.Lock()
        self._away_since: float | None = None  # when the store first did not answer, on the monotonic clock
        self._outage_lock = threading.Lock()

    def beat(self) -> None:
        """Raises `Unavailable`: a beat that the store does not take is simply missed."""
        lines = self.control.log_lines
        change = transitions.beat(self.owner, self.epoch, self.control.progress,
                                  None if lines == self._told_lines else lines)
        self._told_lines = None
        try:
            self._note_outage()
            self.control.observe(self._update(change))
        except Unavailable:
            self._away_since = self._away_since or time.monotonic()
            raise
        self._away_since = None
        self._told_lines = lines

    @contextmanager
    def waiting(self, waits_for: OwnersWait) -> Iterator[Callable[[], None]]:
        """Gives a function that writes down that the task waits. Only its first call writes; leaving ends the wait."""
        said = False

        def say() -> None:
            nonlocal said
            if not said:
                said = True
                self._write(transitions.wait(self.owner, self.epoch, waits_for), lambda task: False)

        try:
            yield say
        finally:
            if said:
                self._write(transitions.end_wait(self.owner, self.epoch), lambda task: False)

    def confirm(self) -> bool:
        """Whether the claim still holds; a beat that waits for the store."""
        return self._write(transitions.beat(self.owner, self.epoch, self.control.progress), lambda task: False)

    def begin_stage(self, stage: str) -> bool:
        """False where the task is not running for us any more; `control` then knows what is wanted."""
        started = self.task.started_at or time.time()
        self.task = self.task.model_copy(update={"started_at": started})
        self.control.log_lines = []
        with self._stage_lock:
            begun = self._write(transitions.begin_stage(self.owner, self.epoch, stage, self.control.progress, started),
                                lambda task: False)
            self._told_lines = None  # a beat may just have told the last stage's
            self._stage = stage if begun else self._stage
        return begun

    def commit_stages(self, stages: Sequence[StageRecord]) -> bool:
        with self._stage_lock:  # else a record that is late would turn the document's stage back
            running = None if any(record.name == self._stage for record in stages) else self._stage
            finished = [record for record in stages if record.name not in self._recorded]
            committed = self._write(transitions.commit_stages(self.owner, self.epoch, stages, self.control.progress,
                                                              running, finished), lambda task: False)
            if committed:
                self._recorded = {record.name for record in stages}
        return committed

    def park(self) -> bool:
        return self._end(transitions.park(self.owner, self.epoch), lambda task: task.status is Status.PAUSED)

    def release(self, delay_s: float = 0.0, waits_for: OwnersWait | None = None) -> bool:
        return self._end(transitions.release(self.owner, self.epoch, delay_s, waits_for),
                         lambda task: task.status is Status.RUNNING)

    def complete(self, result: TaskResult, stages: Sequence[StageRecord]) -> bool:
        return self._end(transitions.complete(self.owner, self.epoch, result, stages),
                         lambda task: task.status is Status.COMPLETED)

    def fail(self, error: StoredFailure) -> bool:
        return self._end(transitions.fail(self.owner, self.epoch, error),
                         lambda task: task.status is Status.FAILED and task.error == error)

    def was_dropped(self) -> bool:
        """Whether the task is gone or failed (cancelled), rather than somebody else's by now."""
        current = self._patiently(self._get)
        return current is None or (isinstance(current, Task) and current.status is Status.FAILED)

    def ended(self) -> Task | None:
        """The task if it has ended, by one look; None also where the store does not answer."""
        try:
            current = self._store.get(self.task.id)
        except (Unavailable, UnreadableDocument):
            return None
        return current if current is not None and current.status in TERMINAL else None

    def is_gone(self) -> bool:
        """Whether the task was deleted."""
        return self._patiently(self._get) is None

    def count_returns(self) -> int:
        """How often an owner has given the task back for want of the object store since its last finished stage."""
        events = self._patiently(lambda: self._store.events(self.task.id)) or []
        progress = [event.seq for event in events if event.type in ("stage_finished", "retried", "resumed")]
        return sum(event.type == "released" and event.data.get("waits_for") == "files" for event in events
                   if event.seq > max(progress, default=0))

    def is_live(self, task_id: str) -> bool:
        """Whether the task, any other one, is there and has not ended. Nobody can tell of one that cannot be read."""
        try:
            other = self._patiently(lambda: self._store.get(task_id))
        except UnreadableDocument:
            return True
        return other is not None and other.status not in TERMINAL

    def may_tell_of(self, task_id: str) -> bool:
        """Whether another task is of this one's tenant: to others it does not exist."""
        try:
            return self._patiently(lambda: self._store.get(task_id, tenant=self.task.tenant)) is not None
        except UnreadableDocument:
            return True  # only of this tenant's does a store say so

    def _end(self, change: Change, took_place: Callable[[Task], bool]) -> bool:
        """A write that gives the task up: its effect shows in a document without an owner, still of our epoch."""
        return self._write(change, lambda task: task.owner is None and task.epoch == self.epoch and took_place(task))

    def _write(self, change: Change, took_place: Callable[[Task], bool]) -> bool:
        tries = 0

        def attempt() -> bool:
            nonlocal tries
            tries += 1
            answer = self._update(change)
            if answer is not None:
                if answer.owner is not None:
                    self.control.observe(answer)
                return True
            current = self._get()
            if tries > 1 and isinstance(current, Task) and took_place(current):
                return True
            self.control.observe(current if isinstance(current, Task) else None)
            return False

        return self._patiently(attempt)

    def _update(self, change: Change) -> Task | None:
        """None for a miss, and where the document cannot be read."""
        try:
            return self._store.update(self.task.id, change)
        except UnreadableDocument:
            return None

    def _get(self) -> Task | UnreadableDocument | None:
        try:
            return self._store.get(self.task.id)
        except UnreadableDocument as document:
            return document

    def _note_outage(self) -> None:
        """Write down that the store was away for long. Raises `Unavailable` while it still is."""
        with self._outage_lock:
            away_s = time.monotonic() - self._away_since if self._away_since else 0.0
            if away_s >= NOTED_OUTAGE_S:
                self._update(transitions.note_outage(self.owner, self.epoch, away_s))
                self._away_since = None

    def _patiently(self, attempt: Callable[[], Answer]) -> Answer:
        """What `attempt` answers, once the store is there."""
        delay_s = 0.1
        while True:
            try:
                self._note_outage()
                answer = attempt()
                self._away_since = None
                return answer
            except Unavailable as error:
                self._away_since = self._away_since or time.monotonic()
                logger.warning("the store is away, the task waits: %s", error,
                               extra={"task_id": self.task.id, "worker": self.owner})
                time.sleep(delay_s * random.uniform(0.5, 1.5))
                delay_s = min(delay_s * 2, 5.0)


class Beater:
    """Beats for all of a worker's leases, from one thread; `poke` beats for one at once (a doorbell rang)."""

    def __init__(self, beat_s: float) -> None:
        self._beat_s = beat_s
        self._leases: set[Lease] = set()  # a task may for a moment have two: an old claim that ends, and the next
        self._poked: set[str] = set()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="beater", daemon=True)
        self._thread.start()

    def add(self, lease: Lease) -> None:
        with self._wake:
            self._leases.add(lease)

    def remove(self, lease: Lease) -> None:
        with self._wake:
            self._leases.discard(lease)

    def poke(self, task_id: str) -> None:
        with self._wake:
            self._poked.add(task_id)
            self._wake.notify()

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        due = time.monotonic() + self._beat_s
        while True:
            with self._wake:
                if not self._poked and not self._closed:
                    self._wake.wait(max(0.0, due - time.monotonic()))
                if self._closed:
                    return
                leases = [lease for lease in self._leases if lease.task.id in self._poked]
                self._poked.clear()
                if time.monotonic() >= due:
                    leases = list(self._leases)
                    due = time.monotonic() + self._beat_s
            for lease in leases:
                try:
                    lease.beat()
                except Unavailable as error:
                    logger.warning("a beat was missed: %s", error, extra={"task_id": lease.task.id})
                except Exception:
                    logger.exception("a beat failed", extra={"task_id": lease.task.id})
