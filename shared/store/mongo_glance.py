"""A glance at a task in MongoDB: the server checks the document's form, and sends the status alone.

A document that does not fit is read as a whole but for its long fields, by a second look: that tells what is wrong with
it. So nothing is refused here, and a condition that is too strict costs a round trip.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.documents import LONG_FIELDS, Status
from shared.store import Glance
from shared.store.reading import read_glance

if TYPE_CHECKING:
    from pymongo.collection import Collection

_TEXT, _OBJECT, _NUMBER = {"$type": "string"}, {"$type": "object"}, {"$type": "number"}
_TIME = {"$gte": -62_135_596_800, "$lt": 253_402_300_800}  # as `Seconds`; it fits numbers only
# Each field that every task has, of its kind, and nothing of a later form.
_CAN_BE_READ: dict[str, Any] = {
    "status": {"$in": [status.value for status in Status]}, "form": None,
    "task_type": _TEXT, "platform": _TEXT, "input_path": _TEXT, "output_path": _TEXT, "parameters": _OBJECT,
    "labels": _OBJECT, "created_at": _TIME, "updated_at": _TIME, "queue_order": _NUMBER, "epoch": _NUMBER}


def find_glance(tasks: Collection[dict[str, Any]], wanted: dict[str, Any]) -> Glance | None:
    """`wanted` is the condition that finds the task. None where there is no such task.

    Raises:
        UnreadableDocument: as `Store.glance` says.
    """
    fits = tasks.find_one(wanted | _CAN_BE_READ, {"status": 1})
    if fits is not None:
        return Glance(fits["_id"], Status(fits["status"]))
    found = tasks.find_one(wanted, dict.fromkeys(("events", *LONG_FIELDS), 0))
    # What keys its values have is of no account, so that nothing is decoded.
    return None if found is None else read_glance(str(found["_id"]), {"id": found.pop("_id"), **found})
