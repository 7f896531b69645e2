"""Documents as they stand in a store, past everything that reads and checks them: damaged, or of another version."""
from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from shared.store import Store
from shared.store.mongo import MongoStore
from shared.store.mongo_connection import DEFAULT_DATABASE
from shared.store.sqlite import SqliteStore


def edit_raw(store: Store, task_id: str, *gone: str, kind: str = "tasks", **fields: Any) -> None:
    """Write these fields of a document, and remove those that are `gone`."""
    if isinstance(store, MongoStore):
        _database(store)[kind].update_one({"_id": task_id}, {operator: what for operator, what in (
            ("$set", fields), ("$unset", dict.fromkeys(gone, ""))) if what})
        return
    document = get_raw(store, task_id, kind) | fields
    for name in gone:
        del document[name]
    put_text(store, task_id, json.dumps(document).encode(), kind)


def get_raw(store: Store, task_id: str, kind: str = "tasks") -> dict[str, Any]:
    if isinstance(store, MongoStore):
        found = _database(store)[kind].find_one({"_id": task_id})
        assert found is not None
        return found
    with _connection(store) as connection:
        return json.loads(connection.execute(f"SELECT doc FROM {kind} WHERE id = ?", [task_id]).fetchone()[0])


def put_text(store: Store, task_id: str, document: bytes, kind: str = "tasks") -> None:
    """Only sqlite holds documents as text."""
    with _connection(store) as connection, connection:
        connection.execute(f"UPDATE {kind} SET doc = CAST(? AS TEXT) WHERE id = ?", [document, task_id])


def spoil_event(store: Store, task_id: str, seq: int) -> None:
    """Make one of the task's events something that is none."""
    if isinstance(store, MongoStore):
        _database(store).tasks.update_one({"_id": task_id}, {"$set": {f"events.{seq - 1}": {"kind": "?"}}})
        return
    with _connection(store) as connection, connection:
        connection.execute("UPDATE events SET event = '{' WHERE task_id = ? AND seq = ?", [task_id, seq])


def _database(store: MongoStore) -> Any:
    return store._client().get_default_database(DEFAULT_DATABASE)


@contextmanager
def _connection(store: Store) -> Iterator[sqlite3.Connection]:
    assert isinstance(store, SqliteStore)
    with closing(sqlite3.connect(store._path, timeout=10)) as connection:
        yield connection
