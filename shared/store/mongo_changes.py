"""Changes of tasks in MongoDB's words."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.documents import Event
from shared.store import KEPT_EVENTS
from shared.store.mongo_documents import encode
from shared.transitions import AtMost, Change, OneOf

if TYPE_CHECKING:
    from pymongo.database import Database


def stored(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [encode(event.model_dump()) for event in events]


def take_back(database: Database[dict[str, Any]], change: Change, before: dict[str, Any],
               after: dict[str, Any]) -> None:
    """Undo a change of a document that turned out to be unreadable, unless somebody who can read it has changed it
    since. Looking first would cost a round trip for each change of each document."""
    names = change.set.keys() | increments_of(change).keys()
    operators: dict[str, Any] = {"$set": {name: before[name] for name in names if name in before},
                                 "$unset": {name: "" for name in names if name not in before},
                                 "$pull": {"events": {"at": {"$in": [event.at for event in change.events]}}}}
    if not change.events:
        del operators["$pull"]
    written = {name: after[name] for name in names if name in change.set or after[name] is not None}
    database.tasks.update_one({"_id": before["_id"]} | written,
                              {operator: fields for operator, fields in operators.items() if fields})


def filter_of(task_id: str, change: Change) -> dict[str, Any]:
    return {"_id": task_id} | {name: condition_of(wanted) for name, wanted in change.where.items()}


def operators_of(change: Change) -> dict[str, dict[str, Any]]:
    operators: dict[str, dict[str, Any]] = {"$set": encode(change.set), "$inc": increments_of(change)}
    if change.events:
        operators["$set"] |= {"untold": True}
        operators["$push"] = {"events": {"$each": stored(change.events), "$slice": -KEPT_EVENTS}}
    return {operator: fields for operator, fields in operators.items() if fields}


def sum_of(value: Any, by: int) -> Any:
    """None where the value is no number. MongoDB refuses to count that up, others that speak its protocol do not."""
    return value + by if isinstance(value, (int, float)) else None


def increments_of(change: Change) -> dict[str, int]:
    return change.increment | ({"event_count": len(change.events)} if change.events else {})


def condition_of(wanted: Any) -> Any:
    match wanted:
        case OneOf(values):
            return {"$in": [encode(value) for value in values]}
        case AtMost(value):
            return {"$lte": value}
    return encode(wanted)
