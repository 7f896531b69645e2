"""What accounts have spent, in MongoDB: a compare-and-set on the moment until which one is used up."""
from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from shared.store.allowance import used_until

if TYPE_CHECKING:
    from pymongo.database import Database


def spend(database: Database[dict[str, Any]], account: str, share: float, life_s: float) -> float | None:
    """As `Store.spend`, once; None where somebody else came in between."""
    from pymongo.errors import DuplicateKeyError

    found, now = database.accounts.find_one({"_id": account}), time.time()
    until, wait_s = used_until(found["until"] if found else 0.0, share, life_s, now)
    if wait_s:
        return wait_s
    if found is None:
        with suppress(DuplicateKeyError):
            database.accounts.insert_one({"_id": account, "until": until})
            return 0.0
        return None
    changed = database.accounts.update_one({"_id": account, "until": found["until"]}, {"$set": {"until": until}})
    return 0.0 if changed.matched_count else None
