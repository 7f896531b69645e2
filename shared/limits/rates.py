"""Requests a second, by the generic cell rate algorithm (ITU-T I.371): one number for each caller.

The number is the time until which a caller has used its share. What lies in the past says nothing, so that its record
is free, and the table never fills up with callers who have gone.
"""
from __future__ import annotations

import time

from shared.limits.table import Table, digest
from shared.store.allowance import used_until

ROWS, ROW = 512, 16


class Rates:
    """Each caller has what it gets in a second at once, and then as much in each second. Exact for all threads, and for
    all processes that were forked after this was made."""

    def __init__(self) -> None:
        self._table = Table("=Qd", ROWS, ROW)

    def take(self, name: str, per_s: int, now: float | None = None) -> float:
        """Count a request: 0, or the seconds after which there is room for it. Then it is not counted. `now`
        (monotonic, of all processes) is for tests."""
        wanted = digest(name)
        with self._table.row(name) as records:
            now = time.monotonic() if now is None else now
            mine = next(((place, until) for place, (owner, until) in records if owner == wanted), None)
            # Among more callers at once than a row holds, the one goes whose share is the least used.
            place, until = mine or (min(records, key=lambda record: record[1][1])[0], 0.0)
            until, wait_s = used_until(until, 1 / per_s, 1.0, now)
            if not wait_s:
                self._table.write(place, wanted, until)
            return wait_s

    def close(self) -> None:
        self._table.close()
