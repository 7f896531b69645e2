"""Gives the pages of an SQLite file that deletes have left free back to the disk."""
from __future__ import annotations

import sqlite3

INCREMENTAL = 2
STEP_PAGES = 1000  # some 4 MiB: they are moved and written within milliseconds
KEPT_PAGES = 256  # free pages that the next inserts will use: not worth the writing
REBUILT_BYTES = 64 << 20  # a file up to this size is rebuilt within a second; writers wait for so long anyway


def give_back(connection: sqlite3.Connection, *, all_at_once: bool) -> int:
    """One step of it, or all; how many bytes.

    A file of an earlier version cannot give single pages back: it is rebuilt once (VACUUM), and can from then on. That
    copies the whole file while others may read and cannot write. So a large one is only rebuilt with `all_at_once`.
    SQLite rebuilds in a copy, and replaces the file in one transaction.

    Raises:
        sqlite3.Error: somebody else holds the lock; the disk has no room for the copy. The file is as it was.
    """
    before = _bytes(connection)
    if _number(connection, "auto_vacuum") != INCREMENTAL:
        worth = _number(connection, "freelist_count") > KEPT_PAGES and before <= REBUILT_BYTES
        if worth or all_at_once:
            connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
            connection.execute("VACUUM")
    elif all_at_once or _number(connection, "freelist_count") > KEPT_PAGES:
        limit = "" if all_at_once else f"({STEP_PAGES})"
        # Each step of the statement frees one page, and `execute` makes one step only of what answers no rows.
        connection.executescript(f"PRAGMA incremental_vacuum{limit}")
    given = before - _bytes(connection)
    if given > 0:  # the file itself becomes shorter when the log is written back into it; not now if it is in use
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return max(0, given)


def _bytes(connection: sqlite3.Connection) -> int:
    return _number(connection, "page_count") * _number(connection, "page_size")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])
