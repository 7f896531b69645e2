"""What an event's records come to: each object is taken for itself. Both doors for events end here, HTTP and AMQP."""
from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from shared.deadlines import check_time
from shared.deps import get_files
from shared.errors import AppError, Busy, InvalidRequest, StorageRefused, Unavailable
from shared.files.paths import check_path
from shared.settings import get_settings
from shared.texts import Text
from shared.triggers import reasons
from shared.triggers.events import Arrived, Subscription
from shared.triggers.events.fields import shown
from shared.triggers.objects import StoredObject

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What one record led to: tasks, or a reason why none. `subscription` is a topic's question, for the caller to
    answer. `name` is what the record was about."""

    name: str = ""
    task_ids: tuple[str, ...] = ()
    is_new: bool = False
    ignored: Text | None = None
    subscription: Subscription | None = None


def take_all(records: Iterable[Arrived | Subscription]) -> list[Outcome]:
    """The outcomes of all records, in their order; an object that several rules fit has one of each.

    A record that has to be tried again does not keep the later ones from their turn.

    Raises:
        Unavailable, Busy: store or files did not answer for one of them at least; the sender is to try all again.
    """
    outcomes: list[Outcome] = []
    failed: AppError | None = None
    for record in records:
        check_time()
        if isinstance(record, Subscription):
            outcomes.append(Outcome(name=record.topic, subscription=record))
            continue
        try:
            found = list(_take(record))
        except (Unavailable, Busy) as error:
            failed = failed or error
            continue
        except Exception:  # the next try would meet it again, and later events would wait behind this one for ever
            logger.exception("an uploaded object failed", extra={"object": record.name})
            found = [Outcome(name=record.name, ignored=Text.of(reasons.FAILED))]
        for outcome in found:
            _tell(outcome)
        outcomes += found
    if failed:
        raise failed
    return outcomes


def _take(record: Arrived) -> Iterable[Outcome]:
    if not record.objects:
        return [Outcome(name=record.name, ignored=record.ignored)]
    from shared.triggers.taking import take  # all that creating tasks needs; most events of a bucket need none of it

    found = choose(record.objects)
    return [Outcome(shown(found.path), taken.task_ids, taken.is_new, taken.ignored) for taken in take(found)]


def choose(spellings: tuple[StoredObject, ...]) -> StoredObject:
    """The one that is there. Where several are, the one with the event's ETag; the first where none tells.

    Raises:
        Unavailable: the store does not answer.
    """
    if len(spellings) == 1:
        return spellings[0]
    settings = get_settings()
    there: list[StoredObject] = []
    for spelling in spellings:
        try:
            check_path(spelling.path, "key", settings)
            info = get_files().stat(spelling.path)
        except (InvalidRequest, StorageRefused):  # no name for an object here
            continue
        if info and info.etag.lower() == spelling.etag:
            return spelling
        if info:
            there.append(spelling)
    return there[0] if there else spellings[0]


def _tell(outcome: Outcome) -> None:
    if outcome.ignored:
        logger.info("an uploaded object starts nothing: %s", outcome.ignored.en, extra={"object": outcome.name})
    else:
        logger.info("an uploaded object started a conversion" if outcome.is_new else
                    "an uploaded object has its conversion already",
                    extra={"object": outcome.name, "task_ids": list(outcome.task_ids)})
