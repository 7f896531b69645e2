"""Places among the tasks that a limit counts, without transactions.

A count's document holds the places of tasks that are about to be stored, and a version. Whoever wants places reads it,
counts the stored tasks without those that have a place, and adds its own by a compare-and-set on the version. A task
keeps its place until it is stored. So at that moment each task is found among the places or among the stored ones.
"""
from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from shared.deadlines import check_time
from shared.store import PLACE_S

if TYPE_CHECKING:
    from pymongo.database import Database

Known = TypeVar("Known")

PAUSE_S = 0.02  # the longest before another attempt; who loses has met others


def take_places(database: Database[dict[str, Any]], count: str, task_ids: Sequence[str], most: int,
                query: Mapping[str, Any]) -> bool | None:
    """As `Store.take_places`, once; None where somebody else came in between."""
    from pymongo.errors import DuplicateKeyError

    found = database.places.find_one({"_id": count})
    if found is None:
        with suppress(DuplicateKeyError):
            database.places.insert_one({"_id": count, "version": 0, "places": []})
        return None
    now = time.time()
    if any(place["at"] < now - PLACE_S for place in found["places"]):
        database.places.update_one({"_id": count}, {"$pull": {"places": {"at": {"$lt": now - PLACE_S}}}})
        return None
    kept = [place["id"] for place in found["places"]]
    wanted = [task_id for task_id in task_ids if task_id not in kept]
    stored = database.tasks.count_documents({**query, "_id": {"$nin": [*kept, *wanted]}}, limit=most + 1)
    if stored + len(kept) + len(wanted) > most:
        return False
    taken = database.places.update_one(
        {"_id": count, "version": found["version"]},
        {"$push": {"places": {"$each": [{"id": task_id, "at": now} for task_id in wanted]}}, "$inc": {"version": 1}})
    return True if taken.matched_count else None


def leave_places(database: Database[dict[str, Any]], count: str, task_ids: Sequence[str]) -> None:
    database.places.update_one({"_id": count}, {"$pull": {"places": {"id": {"$in": list(task_ids)}}}})


def until_known(attempt: Callable[[], Known | None]) -> Known:
    """What an attempt answers that nobody has disturbed.

    Raises:
        OutOfTime: the request's time is over.
    """
    while (answer := attempt()) is None:
        check_time()
        time.sleep(random.uniform(0, PAUSE_S))
    return answer
