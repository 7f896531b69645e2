"""The changes of a task's announcements, as data; docs/protocol.md has the rules, tests/protocol checks them.

The outbox is the task's events: the event that ends a task is in the store with the end itself. A sender that looks at
the task enters a line for it in `announcements`, takes an attempt, sends, and writes down what has become of it. Each
of these asks that the task is as the sender has read it: no other sender has written (`calls`), and nothing has
happened to the task (`event_count`), so that no end is passed over.

An attempt counts from the moment at which it is taken. `next_at` then keeps others away for a while: it is a delay, as
`next_run_at` is. A wrong clock makes it longer or shorter; the receiver then gets the same announcement twice, under
the same id.
"""
from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shared.announcements.outcomes import Outcome
from shared.announcements.schedule import ATTEMPTS
from shared.documents import TERMINAL, Announcement, Event, StoredEvent, Task
from shared.transitions import Change

ENDS = ("completed", "failed", "cancelled")  # the events that end a task
NEVER = 1e12  # of `call_at`: nothing is owed, and the task has ended
KEPT = 20  # announcements of a task; it may end any number of times


def note_ends(seen: Task, events: Sequence[StoredEvent]) -> Change | None:
    """Enter what the ends among the events owe; None where all is entered."""
    last = seen.announcements[-1].seq if seen.announcements else 0
    new = [Announcement(id=announcement_id(seen, event), seq=event.seq, type=event.type,
                        code="cancelled" if event.type == "cancelled" else event.data.get("code"), at=event.at)
           for event in events if event.type in ENDS and event.seq > last]
    return _write(seen, _newest([*seen.announcements, *new])) if new else None


def announcement_id(task: Task, event: StoredEvent) -> str:
    """The same whoever enters it, and for no other end."""
    return f"msg_{task.id.removeprefix('task_')}_{event.seq}"


def begin_attempt(seen: Task, seq: int, *, now: float, lease_s: float) -> Change:
    return _write(seen, [
        entry.model_copy(update={"attempts": entry.attempts + 1, "last_at": now, "next_at": now + lease_s})
        if entry.seq == seq else entry for entry in seen.announcements])


def settle_attempt(seen: Task, seq: int, attempt: int, outcome: Outcome, next_at: float) -> Change:
    """Write down what has become of the attempt. Of one that another has followed, only a success counts."""
    return _write(seen, [_settled(entry, attempt, outcome, next_at) if entry.seq == seq else entry
                         for entry in seen.announcements])


def give_up(seen: Task, seq: int) -> Change:
    """The sender of the last attempt was not heard of again."""
    return _write(seen, [entry.model_copy(update={"state": "given_up", "problem": "lost"})
                         if entry.seq == seq else entry for entry in seen.announcements])


def rest(seen: Task) -> Change:
    """A look has found nothing due. Only this one puts a task to rest, since only this one has looked at its events."""
    change = _write(seen, seen.announcements)
    if any(entry.state == "owed" for entry in seen.announcements):
        return change
    return replace(change, set=change.set | {"call_at": NEVER if seen.status in TERMINAL else None})


def postpone(seen: Task, until: float) -> Change:
    """Look at it later: its receiver has its share of the senders, and others are not to wait for it."""
    change = _write(seen, seen.announcements)
    return replace(change, set=change.set | {"call_at": until})


def next_due(task: Task, now: float) -> Announcement | None:
    return next((entry for entry in task.announcements if entry.state == "owed" and entry.next_at <= now), None)


def mark_told(seen: Task, seq: int, *, all_told: bool) -> Change:
    """The broker has all events up to `seq`. `all_told`: it is the last one, so nobody needs to look."""
    where: dict[str, Any] = {"told": seen.told}
    if all_told:
        return Change(where | {"event_count": seq}, {"told": seq, "untold": False})
    return Change(where, {"told": seq})


def _settled(entry: Announcement, attempt: int, outcome: Outcome, next_at: float) -> Announcement:
    said = {"answer": outcome.status, "problem": outcome.problem}
    if outcome.problem is None:
        return entry.model_copy(update=said | {"state": "delivered"})
    if entry.state != "owed" or entry.attempts != attempt:
        return entry
    if outcome.problem == "gone" or attempt >= ATTEMPTS:
        return entry.model_copy(update=said | {"state": "given_up"})
    return entry.model_copy(update=said | {"next_at": next_at})


def _newest(entries: list[Announcement]) -> list[Announcement]:
    """What is settled goes first, the oldest before the others."""
    while len(entries) > KEPT:
        settled = [entry for entry in entries if entry.state != "owed"]
        entries.remove((settled or entries)[0])
    return entries


def _write(seen: Task, entries: list[Announcement]) -> Change:
    """With nothing owed somebody has to look once more: an older version may have ended the task again."""
    call_at = min((entry.next_at for entry in entries if entry.state == "owed"), default=0.0)
    owed = {entry.seq for entry in seen.announcements if entry.state == "owed"}
    return Change({"calls": seen.calls, "event_count": seen.event_count},
                  {"announcements": [entry.model_dump(mode="json") for entry in entries],
                   "calls": (seen.calls or 0) + 1, "call_at": call_at},
                  events=tuple(Event(type="callback_given_up", at=time.time(),
                                     data={"id": entry.id, "attempts": entry.attempts, "problem": entry.problem})
                               for entry in entries if entry.state == "given_up" and entry.seq in owed))
