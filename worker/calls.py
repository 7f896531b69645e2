"""What one look at a task with a `callback_url` does: enter what its ends owe, take an attempt, send, write down what
has become of it. docs/protocol.md, Announcements, has the rules; `shared.announcements.changes` has the changes.

Each step may miss, since another sender or the task itself was faster. Then this look is over; the next one sees more.
"""
from __future__ import annotations

import logging
import threading
import time
from urllib.parse import urlsplit

from shared.announcements import changes
from shared.announcements.outcomes import PROBLEMS, Outcome
from shared.announcements.payloads import build_payload
from shared.announcements.schedule import ATTEMPTS, pause_s
from shared.announcements.sending import send
from shared.announcements.signing import signed_headers
from shared.documents import Announcement, Task
from shared.errors import Unavailable
from shared.settings import Settings
from shared.store import Store

logger = logging.getLogger(__name__)

LEASE_S = 60.0  # how long an attempt is its sender's own: several times what one may take
SETTLE_S = 30.0  # how long a sender tries to write down what has become of it, while the store is away
TRY_AGAIN_S = 0.5


def receiver_of(task: Task) -> str:
    """The host and port that its announcements go to: also what the log is told of a URL, which may hold secrets."""
    return urlsplit(task.callback_url or "").netloc.rpartition("@")[2].lower()


class Calls:
    def __init__(self, store: Store, settings: Settings, closed: threading.Event) -> None:
        self._store, self._settings, self._closed = store, settings, closed

    def look(self, task: Task) -> None:
        """Do everything that is due of this task.

        Raises:
            Unavailable: the store does not answer. An attempt that was taken costs its minute.
            UnreadableDocument: another version has written the document since.
        """
        seen: Task | None = task
        while seen is not None and not self._closed.is_set():
            seen = self._step(seen)

    def _step(self, seen: Task) -> Task | None:
        """The task after its next step; None where there is nothing more to do, or another was faster."""
        events = self._store.events(seen.id, after=seen.announcements[-1].seq if seen.announcements else 0)
        if events is None:
            return None
        if entered := changes.note_ends(seen, events):
            return self._store.update(seen.id, entered)
        now = time.time()
        due = changes.next_due(seen, now)
        if due is None:
            self._store.update(seen.id, changes.rest(seen))
            return None
        if due.attempts >= ATTEMPTS:
            given_up = self._store.update(seen.id, changes.give_up(seen, due.seq))
            if given_up:
                _tell(seen, due, due.attempts, Outcome("lost"))
            return given_up
        return self._attempt(seen, due, now)

    def _attempt(self, seen: Task, due: Announcement, now: float) -> Task | None:
        begun = self._store.update(seen.id, changes.begin_attempt(seen, due.seq, now=now, lease_s=LEASE_S))
        if begun is None:
            return None
        attempt = due.attempts + 1
        body = build_payload(begun, due.type, due.at, due.code, self._settings)
        outcome = send(begun.callback_url or "", body, signed_headers(due.id, body, self._settings), self._settings)
        _tell(begun, due, attempt, outcome)
        return self._settle(begun.id, due.seq, attempt, outcome)

    def _settle(self, task_id: str, seq: int, attempt: int, outcome: Outcome) -> Task | None:
        """The task with the outcome in it; None where it is deleted. Whoever writes meanwhile makes this one miss, and
        read again."""
        pause = 0.0
        if attempt < ATTEMPTS:
            pause = pause_s(attempt, self._settings.callback_pauses, outcome.retry_after_s)
        until = time.monotonic() + SETTLE_S
        while True:
            try:
                seen = self._store.get(task_id)
                if seen is None:
                    return None
                change = changes.settle_attempt(seen, seq, attempt, outcome, time.time() + pause)
                if settled := self._store.update(task_id, change):
                    return settled
            except Unavailable:
                if time.monotonic() > until or self._closed.wait(TRY_AGAIN_S):
                    raise


def _tell(task: Task, entry: Announcement, attempt: int, outcome: Outcome) -> None:
    said = {"task_id": task.id, "announcement": entry.id, "attempt": attempt, "receiver": receiver_of(task),
            "status": outcome.status}
    if outcome.problem is None:
        logger.info("an end is announced", extra=said)
    elif outcome.problem == "gone" or attempt >= ATTEMPTS:
        logger.warning("an announcement is given up: %s", PROBLEMS[outcome.problem], extra=said)
    else:
        logger.warning("an announcement is tried again later: %s", PROBLEMS[outcome.problem], extra=said)
