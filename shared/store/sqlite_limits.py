"""What limits need of SQLite: `mongo_places` and `mongo_accounts` without their races, for one writes at a time."""
from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from shared.store import PLACE_S
from shared.store.allowance import used_until


def take_places(connection: sqlite3.Connection, count: str, task_ids: Sequence[str], most: int, where: str,
                values: list[Any]) -> bool:
    """Inside a transaction that writes. `where` is the condition on the tasks that count, with its `values`."""
    now = time.time()
    connection.execute("DELETE FROM places WHERE count = ? AND at < ?", [count, now - PLACE_S])
    kept = {task_id for (task_id,) in connection.execute("SELECT task_id FROM places WHERE count = ?", [count])}
    wanted = set(task_ids) - kept
    (stored,) = connection.execute(f"SELECT count(*) FROM tasks{where}", values).fetchone()
    having = kept | wanted
    (twice,) = connection.execute(
        f"SELECT count(*) FROM tasks{where} AND id IN ({', '.join('?' * len(having))})", [*values, *having]).fetchone()
    if stored - twice + len(having) > most:
        return False
    connection.executemany("INSERT INTO places (count, task_id, at) VALUES (?, ?, ?)",
                           [(count, task_id, now) for task_id in wanted])
    return True


def leave_places(connection: sqlite3.Connection, count: str, task_ids: Sequence[str]) -> None:
    connection.executemany("DELETE FROM places WHERE count = ? AND task_id = ?",
                           [(count, task_id) for task_id in task_ids])


def spend(connection: sqlite3.Connection, account: str, share: float, life_s: float) -> float:
    found = connection.execute("SELECT until FROM accounts WHERE name = ?", [account]).fetchone()
    until, wait_s = used_until(found[0] if found else 0.0, share, life_s, time.time())
    if not wait_s:
        connection.execute("INSERT INTO accounts (name, until) VALUES (?, ?) "
                           "ON CONFLICT (name) DO UPDATE SET until = excluded.until", [account, until])
    return wait_s
