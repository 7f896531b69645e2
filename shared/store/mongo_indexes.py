"""The indexes of the tasks in MongoDB, and the orders that they give."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymongo.database import Database

NEWEST_FIRST = [("created_at", -1), ("_id", -1)]
QUEUE_ORDER = [("queue_order", 1), ("_id", 1)]


def make_indexes(database: Database[dict[str, Any]]) -> None:
    """All but those of the outbox and of tenants."""
    from pymongo import IndexModel

    waiting = [("owner", 1), ("status", 1), ("platform", 1), *QUEUE_ORDER, ("next_run_at", 1), ("announced", 1)]
    filters = [IndexModel([(field, 1), *NEWEST_FIRST]) for field in ("status", "platform", "task_type", "group_id")]
    database.tasks.create_indexes([IndexModel([("idempotency_key", 1)], unique=True, sparse=True),
                                   IndexModel([("output_turn", 1)], unique=True, sparse=True),
                                   IndexModel(waiting, name="waiting"), IndexModel(NEWEST_FIRST),
                                   IndexModel([("output_path", 1), ("status", 1)]), *filters])


def make_outbox_indexes(database: Database[dict[str, Any]]) -> None:
    from pymongo import IndexModel

    database.tasks.create_indexes([IndexModel([("calls_back", 1), ("call_at", 1), ("status", 1)]),
                                   IndexModel([("untold", 1), ("_id", 1)])])


def make_key_indexes(database: Database[dict[str, Any]]) -> None:
    """Those of keys, and of the tasks of tenants: who has none writes none."""
    database.access_keys.create_index([("digest", 1)], unique=True)
    database.tasks.create_index([("tenant", 1), *NEWEST_FIRST])
