"""The changes in `shared.announcements.changes` are those that the model of announcing has checked: each is tried on
every document that the model reaches, and on many that a sender may have seen before."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import pytest

from shared import transitions
from shared.announcements import changes
from shared.announcements.outcomes import Outcome, Problem
from shared.announcements.schedule import ATTEMPTS
from shared.documents import TERMINAL, Announcement, Status, StoredEvent, Task
from shared.transitions import Change
from tests.contract.store_model import apply, make_task
from tests.protocol import announcing_model
from tests.protocol.announcing_rules import (
    FAILS,
    GONE,
    LATER,
    MAX_ATTEMPTS,
    NEVER,
    NONE,
    NOW,
    OK,
    OWED,
    AnnouncingRules,
    Doc,
    Entry,
    to_note,
)

RULES = AnnouncingRules()
TIME, LATE = 1_000.0, 2_000.0  # now, and when a delay is over
CALL_AT = {NONE: None, NOW: 0.0, LATER: LATE, NEVER: changes.NEVER}
OUTCOMES: dict[str, Problem | None] = {OK: None, FAILS: "status", GONE: "gone"}
TASK = make_task(callback_url="https://example.com/")


@lru_cache(maxsize=1)
def docs() -> list[Doc]:
    """What the model reaches, with `calls` at two values, so that a sender may have seen another."""
    found: set[Doc] = set()

    class Watched(AnnouncingRules):
        def finds(self, doc: Doc) -> bool:
            found.add(doc)
            return super().finds(doc)

    announcing_model.explore(Watched(), 1, 0, 2)
    return sorted(found)


def to_attempts(number: int) -> int:
    """The model's schedule is shorter: its last attempt is the code's last."""
    return ATTEMPTS - MAX_ATTEMPTS + number if number else 0


def to_entry(entry: Entry) -> Announcement:
    return Announcement(id=f"msg_{TASK.id.removeprefix('task_')}_{entry.end}", seq=entry.end, type="completed", at=1.0,
                        state=entry.state, attempts=to_attempts(entry.attempts), next_at=0.0 if entry.due else LATE)


def to_task(doc: Doc) -> Task:
    return TASK.model_copy(update={
        "status": Status.FAILED if doc.ended else Status.RUNNING, "owner": None if doc.ended else "w1", "epoch": 1,
        "event_count": doc.count, "call_at": CALL_AT[doc.call_at], "calls": doc.calls or None,
        "announcements": list(map(to_entry, doc.entries))})


def to_events(doc: Doc) -> list[StoredEvent]:
    return [StoredEvent(type="completed" if seq in doc.ends else "retried", at=1.0, seq=seq)
            for seq in range(1, doc.count + 1)]


def from_entry(entry: Announcement) -> Entry:
    head, _, end = entry.id.rpartition("_")
    assert head == f"msg_{TASK.id.removeprefix('task_')}"
    # An attempt that the code has begun from none is its first, as in the model.
    attempts = entry.attempts if entry.attempts < 2 else entry.attempts - (ATTEMPTS - MAX_ATTEMPTS)
    return Entry(entry.seq, int(end), entry.state, attempts, entry.state == OWED and entry.next_at <= TIME)


def from_task(task: Task, ends: tuple[int, ...]) -> Doc:
    call_at = NONE if task.call_at is None else NEVER if task.call_at == changes.NEVER else (
        NOW if task.call_at <= TIME else LATER)
    return Doc(task.status in TERMINAL, task.event_count, ends, call_at, task.calls or 0,
               tuple(map(from_entry, task.announcements)))


def settled(doc: Doc | None) -> Doc | None:
    """Whether a settled entry is due says nothing."""
    return doc and doc._replace(entries=tuple(
        entry if entry.state == OWED else entry._replace(due=False) for entry in doc.entries))


Case = tuple[Doc, Doc, Change | None, Doc | None]  # in the store, as it was seen, the code's change, the model's answer


def pairs() -> Iterator[tuple[Doc, Doc]]:
    """Each document with itself, and as others saw it: before another's write, or before another event."""
    for seen in docs():
        yield seen, seen
        yield seen._replace(calls=seen.calls + 1), seen
        yield seen._replace(count=seen.count + 1, ended=not seen.ended), seen


def note() -> Iterator[Case]:
    for doc, seen in pairs():
        if to_note(seen):
            yield doc, seen, changes.note_ends(to_task(seen), to_events(seen)), RULES.note(doc, seen)


def begin() -> Iterator[Case]:
    for doc, seen in pairs():
        for entry in seen.entries:
            if entry.state == OWED and entry.due and entry.attempts < MAX_ATTEMPTS:
                change = changes.begin_attempt(to_task(seen), entry.end, now=TIME, lease_s=LATE - TIME)
                yield doc, seen, change, RULES.begin(doc, seen, entry.end)


def give_up() -> Iterator[Case]:
    for doc, seen in pairs():
        for entry in seen.entries:
            if entry.state == OWED and entry.attempts == MAX_ATTEMPTS:
                yield doc, seen, changes.give_up(to_task(seen), entry.end), RULES.give_up(doc, seen, entry.end)


def settle() -> Iterator[Case]:
    for doc, seen in pairs():
        for entry, attempt, answer in itertools.product(seen.entries, (1, 2), OUTCOMES):
            if attempt <= entry.attempts:
                change = changes.settle_attempt(to_task(seen), entry.end, to_attempts(attempt),
                                                Outcome(OUTCOMES[answer]), LATE)
                yield doc, seen, change, RULES.settle(doc, seen, entry.end, attempt, answer)


def rest() -> Iterator[Case]:
    for doc, seen in pairs():
        yield doc, seen, changes.rest(to_task(seen)), RULES.rest(doc, seen)


def postpone() -> Iterator[Case]:
    for doc, seen in pairs():
        yield doc, seen, changes.postpone(to_task(seen), LATE), RULES.postpone(doc, seen)


CASES: dict[str, Callable[[], Iterator[Case]]] = {"note": note, "begin": begin, "give_up": give_up, "settle": settle,
                                                  "rest": rest, "postpone": postpone}


@pytest.mark.parametrize("name", CASES)
def test_a_change_of_the_code_is_the_models(name: str):
    landed = set()
    for doc, seen, change, expected in CASES[name]():
        assert change is not None
        task = apply(to_task(doc), change)
        made = from_task(task, doc.ends) if task else None
        assert settled(made) == settled(expected), (doc, seen)
        landed.add(made is not None)
    assert landed == {True, False}


@pytest.mark.parametrize(("change", "rule"), [(transitions.cancel, RULES.end), (transitions.retry, RULES.retry)])
def test_an_end_and_a_retry_change_what_the_model_says(change: Callable[[], Change], rule: Callable[[Doc], Doc | None]):
    for doc in docs():
        task, expected = apply(to_task(doc), change()), rule(doc)
        assert (settled(from_task(task, expected.ends)) if task and expected else task) == settled(expected)


def test_what_is_entered_once_is_not_entered_again():
    for doc in docs():
        assert (changes.note_ends(to_task(doc), to_events(doc)) is None) == (not to_note(doc))


def test_the_next_attempt_is_that_of_the_oldest_end_that_is_due():
    for doc in docs():
        due = changes.next_due(to_task(doc), TIME)
        expected: Any = announcing_model.next_due(doc)
        assert (due and due.seq) == (expected and expected.end)
