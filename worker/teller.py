"""Tells whoever listens at the broker of every event of every task: docs/protocol.md, "Every event as a CloudEvent".

An event goes out once the one before it is confirmed, and `told` is written after that. So what was not published stays
in the store, whoever dies; a listener may get an event again, but never one without those before it.
"""
from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass

from shared.announcements.changes import mark_told
from shared.announcements.cloud_events import to_cloud_event
from shared.documents import StoredEvent, Task
from shared.errors import Unavailable, UnreadableDocument
from shared.queue import EventPublisher, EventRefused
from shared.store import Store

logger = logging.getLogger(__name__)

TELL_S = 0.5  # how often it is looked for new events
TURN_S = 5.0  # how often a worker whose turn it is not asks again
LAST_PAUSE_S = 15.0  # the longest after a failure
TASKS = 100  # in one look
EVENTS = 50  # of one of them
TRIES = 4  # of an event that a listener's queue refuses: a broker that stops may refuse too, but not so often


@dataclass
class Telling:
    """A task's events in one look. `seen` is the task before it, `told` the last event that the broker has, and
    `all_told` the `told` with which nothing is left."""

    seen: Task
    events: deque[StoredEvent]
    told: int | None
    all_told: int
    stuck: bool = False


class Teller:
    """Publishes from one thread until closed. It holds up nobody: connections and pauses are its own."""

    def __init__(self, store: Store, publisher: EventPublisher) -> None:
        self._store, self._publisher = store, publisher
        self._refused: Counter[str] = Counter()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="teller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What is not told yet, another worker tells."""
        self._closed.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        pause_s = failed_s = TELL_S
        while not self._closed.wait(pause_s):
            try:
                pause_s, failed_s = self._turn(), TELL_S
            except Exception as error:
                self._publisher.close()  # somebody else may have what is missing here
                pause_s = failed_s = min(2 * failed_s, LAST_PAUSE_S)
                if isinstance(error, Unavailable):
                    logger.warning("events of tasks wait to be published: %s", error)
                else:
                    logger.exception("events of tasks could not be published")
        self._publisher.close()

    def _turn(self) -> float:
        """Seconds until the next look."""
        if not self._publisher.take_turn():
            return TURN_S
        return 0.0 if look(self._store, self._publisher, self._refused, self._closed) else TELL_S


def look(store: Store, publisher: EventPublisher, refused: Counter[str], closed: threading.Event) -> bool:
    """Publish what has happened since the last look; whether there is more at once.

    `refused` counts from look to look how often an event was refused. After `TRIES` of them it is passed over, so that
    a listener whose queue is full keeps nothing from the others.

    Raises:
        Unavailable: store or broker did not answer. What was confirmed before is marked.
    """
    tasks = store.untold(limit=TASKS)
    tellings = list(_read(store, tasks))
    problem, again = None, Counter[str]()
    while not closed.is_set() and (heads := [one for one in tellings if one.events and not one.stuck]):
        messages = [to_cloud_event(one.seen, one.events[0]) for one in heads]
        for one, message, failed in zip(heads, messages, publisher.publish(messages), strict=True):
            if isinstance(failed, EventRefused) and refused[message.id] + 1 < TRIES:
                one.stuck, again[message.id] = True, refused[message.id] + 1
            elif failed and not isinstance(failed, EventRefused):
                one.stuck, problem = True, failed
            else:
                if failed:
                    logger.warning("an event is passed over, which a listener's queue refuses", extra={
                        "task_id": one.seen.id, "event": message.type})
                one.told = one.events.popleft().seq
    refused.clear()
    refused.update(again)
    _mark(store, tellings)
    if problem:
        raise problem
    return not again and (len(tasks) == TASKS or any(one.told != one.all_told for one in tellings))


def _read(store: Store, tasks: list[Task]) -> Iterator[Telling]:
    for task in tasks:
        told = task.told or 0
        try:
            events = store.events(task.id, told)
        except UnreadableDocument:
            events = []  # the reader has told the log; the others' events are not to wait for it
        if events is None:
            continue  # deleted just now
        last = max(task.event_count, events[-1].seq if events else 0)  # what cannot be read is passed over
        if (lost := last - told - len(events)) > 0:
            logger.warning("events of a task are lost, before they were published", extra={
                "task_id": task.id, "events": lost})
        yield Telling(task, deque(events[:EVENTS]), task.told if events else last,
                      last if len(events) <= EVENTS else -1)


def _mark(store: Store, tellings: list[Telling]) -> None:
    """First how far each task is told, which nothing that has happened meanwhile prevents; then who is at rest."""
    moved = [(one.seen.id, mark_told(one.seen, one.told, all_told=False))
             for one in tellings if one.told is not None and one.told != one.seen.told]
    done = [(one.seen.id, mark_told(one.seen.model_copy(update={"told": one.told}), one.all_told, all_told=True))
            for one in tellings if one.told == one.all_told]
    store.update_many(moved)
    store.update_many(done)
