"""The table of task transitions as data; docs/protocol.md explains it, tests/protocol checks it exhaustively.

Each function gives a `Change`: a filter on one document, and the fields to write if the filter still fits. A store
applies the change as one compare-and-set. It answers the new document, or None for a miss. A store knows nothing of
tasks, and a miss is no error: the caller decides what it means.

No rule compares the clocks of two machines. `next_run_at` is a delay, not a lease: a wrong clock makes the wait longer
or shorter, and breaks nothing.

A change carries the events that describe it; beats and doorbells carry none. If the answer to a write is lost, its
owner may apply the same change twice (a stage begins, stages are recorded). Its events are then there twice.
"""
from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from shared import reasons
from shared.documents import Event, OwnersWait, StageRecord, Status, StoredFailure, Task, TaskResult

WAITING = (Status.PENDING, Status.RUNNING)


@dataclass(frozen=True)
class OneOf:
    """Filter: the field has one of these values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class AtMost:
    """Filter: the field is at most this number."""

    value: float


@dataclass(frozen=True)
class Change:
    """One compare-and-set. `where` maps fields to a value (None: null), `OneOf` or `AtMost`.

    `set` and `increment` never name the same field; values are JSON. `events` are appended to the task's.
    """

    where: dict[str, Any]
    set: dict[str, Any] = field(default_factory=dict)
    increment: dict[str, int] = field(default_factory=dict)
    events: tuple[Event, ...] = ()


# What a task is without an owner: nothing runs, so nothing speaks and nothing waits.
_FREE: dict[str, Any] = {"owner": None, "log_lines": [], "waits_for": None}


def _now() -> float:
    return time.time()


def _event(event_type: str, at: float, **data: Any) -> Event:
    return Event(type=event_type, at=at, data=data)


def _finished(stages: Sequence[StageRecord], at: float) -> tuple[Event, ...]:
    """What has ended an attempt, and not the task, is told by its code."""
    return tuple(_event("stage_finished", at, stage=s.name, seconds=s.seconds, cached=s.cached,
                        **{"refused": s.refused} if s.refused else {}) for s in stages)


def _owned(owner: str, epoch: int, *statuses: Status) -> dict[str, Any]:
    where: dict[str, Any] = {"owner": owner, "epoch": epoch}
    if statuses:
        where["status"] = OneOf(statuses) if len(statuses) > 1 else statuses[0]
    return where


def _end(where: dict[str, Any], status: Status, at: float, what: dict[str, Any], *events: Event) -> Change:
    """A task has ended. Complete, fail, cancel and the last reap end it here and nowhere else, so that whatever an end
    owes to others is written together with it: its event is the outbox, and `call_at` says that somebody is to look
    (`shared.announcements.changes`)."""
    return Change(where, _FREE | {"status": status, "finished_at": at, "updated_at": at, "call_at": 0.0} | what,
                  events=events)


# --- the owner ------------------------------------------------------------------------------------------------------


def claim(worker: str) -> Change:
    now = _now()
    return Change({"status": OneOf(WAITING), "owner": None, "next_run_at": AtMost(now)},
                  {"status": Status.RUNNING, "owner": worker, "beat": 0, "waits_for": None, "updated_at": now},
                  {"epoch": 1},
                  (_event("claimed", now, worker=worker),))


def beat(owner: str, epoch: int, progress: float | None = None, log_lines: Sequence[str] | None = None) -> Change:
    """Allowed while paused too: the answered document shows the owner whether to go on. A field that is None is left
    as it is."""
    told = {"progress": progress, "log_lines": None if log_lines is None else list(log_lines)}
    return Change(_owned(owner, epoch), {name: value for name, value in told.items() if value is not None}, {"beat": 1})


def begin_stage(owner: str, epoch: int, stage: str, progress: float, started_at: float) -> Change:
    now = _now()
    return Change(_owned(owner, epoch, Status.RUNNING),
                  {"stage": stage, "progress": progress, "log_lines": [], "started_at": started_at, "updated_at": now},
                  {"beat": 1}, (_event("stage_started", now, stage=stage),))


def commit_stages(owner: str, epoch: int, stages: Sequence[StageRecord], progress: float,
                  running: str | None = None, finished: Sequence[StageRecord] = ()) -> Change:
    """Record finished stages, even if a pause came first. `stages` are all of the task's, in order. `running` is the
    stage that has begun meanwhile. `finished` are the stages that the document does not know yet."""
    now = _now()
    return Change(_owned(owner, epoch, Status.RUNNING, Status.PAUSED),
                  {"stages": [s.model_dump(mode="json") for s in stages], "stage": running or stages[-1].name,
                   "retries": 0, "progress": progress, "updated_at": now}, {"beat": 1}, _finished(finished, now))


def wait(owner: str, epoch: int, waits_for: OwnersWait) -> Change:
    """The owner cannot go on until another task's run of the stage has ended, or until the object store answers."""
    return Change(_owned(owner, epoch), {"waits_for": waits_for}, {"beat": 1},
                  (_event("waiting", _now(), waits_for=waits_for),))


def end_wait(owner: str, epoch: int) -> Change:
    now = _now()
    return Change(_owned(owner, epoch), {"waits_for": None}, {"beat": 1}, (_event("wait_over", now),))


def note_outage(owner: str, epoch: int, seconds: float) -> Change:
    """The store did not answer the owner for so long. That can be written down only afterwards, both events at once."""
    now = _now()
    return Change(_owned(owner, epoch), {}, {"beat": 1},
                  (_event("waiting", now, waits_for="store"), _event("wait_over", now, seconds=round(seconds, 1))))


def park(owner: str, epoch: int) -> Change:
    now = _now()
    return Change(_owned(owner, epoch, Status.PAUSED), _FREE | {"updated_at": now},
                  events=(_event("parked", now, worker=owner),))


def release(owner: str, epoch: int, delay_s: float = 0.0, waits_for: OwnersWait | None = None) -> Change:
    """The owner gives its running task back, for example because the worker stops. It is a reap by the owner itself,
    and `retries` stays as it is. No worker claims the task again before `delay_s`; `waits_for` is the reason."""
    now = _now()
    reason = {"waits_for": waits_for} if waits_for else {}
    return Change(_owned(owner, epoch, Status.RUNNING),
                  _FREE | reason | {"announced": -1, "next_run_at": now + delay_s if delay_s else 0.0,
                                    "updated_at": now},
                  events=(_event("released", now, worker=owner, **reason),))


def complete(owner: str, epoch: int, result: TaskResult, stages: Sequence[StageRecord]) -> Change:
    """`stages` are all of the task's. Publishing, the last one, counts as finished only together with the task."""
    now = _now()
    return _end(_owned(owner, epoch, Status.RUNNING), Status.COMPLETED, now,
                {"result": result.model_dump(mode="json"), "stages": [s.model_dump(mode="json") for s in stages],
                 "stage": stages[-1].name if stages else None, "progress": 100.0},
                *_finished(stages[-1:], now), _event("completed", now))


def fail(owner: str, epoch: int, error: StoredFailure) -> Change:
    """Misses while the task is paused. The owner then parks, and the stage runs again after resume."""
    now = _now()
    return _end(_owned(owner, epoch, Status.RUNNING), Status.FAILED, now, {"error": error.model_dump(mode="json")},
                _event("failed", now, code=error.code, stage=error.stage))


# --- clients --------------------------------------------------------------------------------------------------------


def created(task: Task, by: Mapping[str, Any] = MappingProxyType({})) -> Event:
    """The first event of a task, stored together with it. `by` tells of the client."""
    return _event("created", task.created_at, **by)


def pause() -> Change:
    now = _now()
    return Change({"status": Status.RUNNING}, {"status": Status.PAUSED, "updated_at": now},
                  events=(_event("paused", now),))


def resume() -> Change:
    """An owner that has not parked yet goes on with the task."""
    now = _now()
    return Change({"status": Status.PAUSED},
                  {"status": Status.RUNNING, "announced": -1, "next_run_at": 0.0, "updated_at": now},
                  events=(_event("resumed", now),))


def cancel() -> Change:
    now = _now()
    error = StoredFailure.of(reasons.CANCELLED())
    return _end({"status": OneOf((Status.PENDING, Status.RUNNING, Status.PAUSED))}, Status.FAILED, now,
                {"error": error.model_dump(mode="json")}, _event("cancelled", now))


def retry() -> Change:
    now = _now()
    return Change({"status": Status.FAILED},
                  {"status": Status.PENDING, "error": None, "retries": 0, "announced": -1, "next_run_at": 0.0,
                   "finished_at": None, "call_at": 0.0, "updated_at": now}, events=(_event("retried", now),))


# --- housekeeping ---------------------------------------------------------------------------------------------------


def reap(seen: Any, *, max_retries: int, delay_s: float) -> Change:
    """Free a task whose owner is dead. `seen` (id, owner, epoch, beat, status, retries) was unchanged for a whole lease
    of the caller's own monotonic clock."""
    now = _now()
    where = {"owner": seen.owner, "epoch": seen.epoch, "beat": seen.beat, "status": seen.status,
             "retries": seen.retries}
    effect = _FREE | {"announced": -1, "updated_at": now}
    lost = seen.status == Status.RUNNING
    reaped = _event("reaped", now, worker=seen.owner, retries=seen.retries + lost)
    if lost and seen.retries >= max_retries:
        error = StoredFailure.of(reasons.WORKER_LOST(count=seen.retries + 1))
        return _end(where, Status.FAILED, now, {"announced": -1, "error": error.model_dump(mode="json")},
                    reaped, _event("failed", now, code=error.code, stage=error.stage))
    if lost:
        return Change(where, effect | {"next_run_at": now + delay_s * 2**seen.retries}, {"retries": 1}, (reaped,))
    return Change(where, effect, events=(reaped,))


def mark_announced(epoch: int) -> Change:
    """The broker has confirmed the doorbell of this epoch."""
    return Change({"epoch": epoch, "announced": -1}, {"announced": epoch})
