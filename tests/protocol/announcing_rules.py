"""The rules of announcing, as docs/protocol.md has them, on the few fields that matter; and the mistakes in them.

`announcing_model` explores what the rules allow. `test_announcing_code_against_model` compares them with
`shared.announcements.changes`.
"""
from __future__ import annotations

from typing import NamedTuple

MAX_ATTEMPTS = 2
NONE, NOW, LATER, NEVER = "none", "now", "later", "never"  # of `call_at`
OWED, DELIVERED, GIVEN_UP = "owed", "delivered", "given_up"
OK, FAILS, GONE = "ok", "fails", "gone"  # what the receiver answers


class Entry(NamedTuple):
    """What one end owes. `end` is the number of the end's event; `id` is what the receiver knows it by."""

    end: int
    id: int
    state: str = OWED
    attempts: int = 0
    due: bool = True


class Doc(NamedTuple):
    """The fields of a task with a `callback_url`. `ends` are the events of its ends, by their number among all events
    (`count`)."""

    ended: bool
    count: int
    ends: tuple[int, ...]
    call_at: str
    calls: int
    entries: tuple[Entry, ...]


def to_note(doc: Doc) -> tuple[int, ...]:
    """The ends that have no entry yet."""
    return tuple(end for end in doc.ends if not doc.entries or end > doc.entries[-1].end)


def next_due(doc: Doc) -> Entry | None:
    return next((entry for entry in doc.entries if entry.state == OWED and entry.due), None)


class AnnouncingRules:
    """Each gives the new document, or None where its filter does not fit. `seen` is the document that the sender has
    read before; `doc` is the one in the store."""

    # --- the task's own transitions

    def end(self, doc: Doc) -> Doc | None:
        """Complete, fail, cancel or the last reap."""
        if doc.ended:
            return None
        count = doc.count + 1
        return doc._replace(ended=True, count=count, ends=(*doc.ends, count), call_at=NOW)

    def end_by_older_version(self, doc: Doc) -> Doc | None:
        """It knows nothing of announcements, and leaves their fields where they are."""
        ended = self.end(doc)
        return ended and ended._replace(call_at=doc.call_at)

    def retry(self, doc: Doc) -> Doc | None:
        return doc._replace(ended=False, count=doc.count + 1, call_at=NOW) if doc.ended else None

    # --- who sends

    def finds(self, doc: Doc) -> bool:
        """Whether a look for what is owed gives this task."""
        return doc.call_at == NOW or (doc.call_at == NONE and doc.ended)

    def note(self, doc: Doc, seen: Doc) -> Doc | None:
        """Enter what the ends owe."""
        if not self._fits(doc, seen):
            return None
        return self._write(doc, (*doc.entries, *(Entry(end, self.id_of(end)) for end in to_note(seen))))

    def begin(self, doc: Doc, seen: Doc, end: int) -> Doc | None:
        """Take the next attempt: it counts from here on, and nobody else takes one until its time is over."""
        if not self._fits(doc, seen):
            return None
        return self._write(doc, tuple(
            entry._replace(attempts=entry.attempts + 1, due=False) if entry.end == end else entry
            for entry in doc.entries))

    def settle(self, doc: Doc, seen: Doc, end: int, attempt: int, answer: str) -> Doc | None:
        """Write down what has become of the attempt. Of one that another has followed, only a success counts."""
        if not self._fits(doc, seen):
            return None
        return self._write(doc, tuple(self._settled(entry, attempt, answer) if entry.end == end else entry
                                      for entry in doc.entries))

    def give_up(self, doc: Doc, seen: Doc, end: int) -> Doc | None:
        """The sender of the last attempt was not heard of again."""
        if not self._fits(doc, seen):
            return None
        return self._write(doc, tuple(entry._replace(state=GIVEN_UP, due=False) if entry.end == end else entry
                                      for entry in doc.entries))

    def rest(self, doc: Doc, seen: Doc) -> Doc | None:
        """Nothing is due: the look was for nothing."""
        if not self._fits(doc, seen):
            return None
        written = self._write(doc, doc.entries)
        owed = any(entry.state == OWED for entry in doc.entries)
        return written if owed else written._replace(call_at=NEVER if doc.ended else NONE)

    def postpone(self, doc: Doc, seen: Doc) -> Doc | None:
        """The receiver has more than its share: the look is for others, and this task is looked at later."""
        if not self._fits(doc, seen):
            return None
        return self._write(doc, doc.entries)._replace(call_at=LATER)

    # --- how they are made

    sends_first = False  # whether an owner sends before the end is written
    last_attempt = MAX_ATTEMPTS

    def id_of(self, end: int) -> int:
        return end

    def sent_id(self, entry: Entry) -> int:
        """The id that an attempt sends."""
        return entry.id

    def _settled(self, entry: Entry, attempt: int, answer: str) -> Entry:
        if answer == OK:
            return entry._replace(state=DELIVERED, due=False)
        if entry.state != OWED or entry.attempts != attempt:
            return entry
        if answer == GONE or attempt >= MAX_ATTEMPTS:
            return entry._replace(state=GIVEN_UP, due=False)
        return entry._replace(due=False)

    def _fits(self, doc: Doc, seen: Doc) -> bool:
        return doc.calls == seen.calls and doc.count == seen.count

    def _write(self, doc: Doc, entries: tuple[Entry, ...]) -> Doc:
        """What is given up is an event."""
        given_up = [sum(entry.state == GIVEN_UP for entry in some) for some in (doc.entries, entries)]
        return doc._replace(entries=entries, calls=doc.calls + 1, call_at=self._call_at(doc, entries),
                            count=doc.count + max(0, given_up[1] - given_up[0]))

    def _call_at(self, doc: Doc, entries: tuple[Entry, ...]) -> str:
        """With nothing owed somebody has to look once more: it may have ended again, and only `rest` has looked."""
        owed = [entry for entry in entries if entry.state == OWED]
        return LATER if owed and not any(entry.due for entry in owed) else NOW


class SendsBeforeTheWrite(AnnouncingRules):
    sends_first = True


class NewIdPerAttempt(AnnouncingRules):
    def sent_id(self, entry: Entry) -> int:
        return entry.id * 10 + entry.attempts


class OneIdPerTask(AnnouncingRules):
    def id_of(self, end: int) -> int:
        return 0


class NoLease(AnnouncingRules):
    def begin(self, doc: Doc, seen: Doc, end: int) -> Doc | None:
        begun = super().begin(doc, seen, end)
        return begun and self._write(begun, tuple(
            entry._replace(due=True) if entry.end == end else entry for entry in begun.entries))


class BeginsWithoutComparing(AnnouncingRules):
    def begin(self, doc: Doc, seen: Doc, end: int) -> Doc | None:
        return super().begin(doc, doc, end)


class CountsAfterSending(AnnouncingRules):
    def begin(self, doc: Doc, seen: Doc, end: int) -> Doc | None:
        begun = super().begin(doc, seen, end)
        return begun and begun._replace(entries=tuple(
            entry._replace(attempts=entry.attempts - 1) if entry.end == end else entry for entry in begun.entries))

    def _settled(self, entry: Entry, attempt: int, answer: str) -> Entry:
        return super()._settled(entry._replace(attempts=attempt), attempt, answer)


class ForgetsAfterAFailure(AnnouncingRules):
    def settle(self, doc: Doc, seen: Doc, end: int, attempt: int, answer: str) -> Doc | None:
        settled = super().settle(doc, seen, end, attempt, answer)
        if settled is None or answer == OK:
            return settled
        return self._write(doc, tuple(entry for entry in settled.entries if entry.end != end))


class LateFailureCounts(AnnouncingRules):
    def _settled(self, entry: Entry, attempt: int, answer: str) -> Entry:
        if answer == OK:
            return super()._settled(entry, attempt, answer)
        return entry._replace(state=GIVEN_UP if answer == GONE or attempt >= MAX_ATTEMPTS else OWED)


class RestsWithoutLooking(AnnouncingRules):
    """The write that ends the last attempt also puts the task to rest."""

    def _write(self, doc: Doc, entries: tuple[Entry, ...]) -> Doc:
        written = super()._write(doc, entries)
        owed = any(entry.state == OWED for entry in entries)
        return written if owed else written._replace(call_at=NEVER if doc.ended else NONE)


class WritesWithoutLookingForEnds(AnnouncingRules):
    """A task that has ended once more meanwhile is put to rest."""

    def _fits(self, doc: Doc, seen: Doc) -> bool:
        return doc.calls == seen.calls


class EndTellsNobody(AnnouncingRules):
    def end(self, doc: Doc) -> Doc | None:
        ended = super().end(doc)
        return ended and ended._replace(call_at=doc.call_at)


class NeverGivesUpTheLost(AnnouncingRules):
    """Only an attempt whose answer is known can be the last one."""

    last_attempt = 1 << 30


class PostponesForEver(AnnouncingRules):
    def postpone(self, doc: Doc, seen: Doc) -> Doc | None:
        postponed = super().postpone(doc, seen)
        return postponed and postponed._replace(call_at=NEVER)


class RetryForgets(AnnouncingRules):
    def retry(self, doc: Doc) -> Doc | None:
        retried = super().retry(doc)
        return retried and retried._replace(entries=())


class RetryLeavesTheRest(AnnouncingRules):
    """What was put to rest stays so: the next end by an older version is found by nobody."""

    def retry(self, doc: Doc) -> Doc | None:
        retried = super().retry(doc)
        return retried and retried._replace(call_at=doc.call_at)


MUTANTS: dict[str, type[AnnouncingRules]] = {
    "sends_before_the_write": SendsBeforeTheWrite, "new_id_per_attempt": NewIdPerAttempt,
    "one_id_per_task": OneIdPerTask, "no_lease": NoLease, "begins_without_comparing": BeginsWithoutComparing,
    "counts_after_sending": CountsAfterSending, "forgets_after_a_failure": ForgetsAfterAFailure,
    "late_failure_counts": LateFailureCounts, "writes_without_looking_for_ends": WritesWithoutLookingForEnds,
    "rests_without_looking": RestsWithoutLooking, "never_gives_up_the_lost": NeverGivesUpTheLost,
    "postpones_for_ever": PostponesForEver, "end_tells_nobody": EndTellsNobody,
    "retry_forgets": RetryForgets, "retry_leaves_the_rest": RetryLeavesTheRest}
