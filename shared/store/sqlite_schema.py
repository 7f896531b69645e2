"""The SQLite file's schema, and connections that have it.

A task is one JSON document; what filters and orders is a virtual column computed from it, so that the document stays
the only truth. `id` after what an index orders by makes the order total. A task's events have rows of their own, so
that nobody reads or rewrites them who has none to read or add; they change in the transaction that changes the task.
"""
from __future__ import annotations

import sqlite3
from pathlib import Path

VERSION = 9
LOG_BYTES = 16 << 20  # to which the write-ahead log is cut back after it was written into the file

# Also literally in the queries: SQLite uses a partial index only where the query repeats the index's condition.
WAITING = "owner IS NULL AND status IN ('pending', 'running')"
LIVE = "status IN ('pending', 'running', 'paused')"
GROUP = "json_extract(doc, '$.group_id')"  # no column: files of version 2 have none
OUTPUT = "json_extract(doc, '$.output_path')"  # the same
CALLBACK = "json_extract(doc, '$.callback_url') IS NOT NULL"
CALL_AT = "json_extract(doc, '$.call_at')"
TURN = "json_extract(doc, '$.output_turn')"
TENANT = "json_extract(doc, '$.tenant')"  # null is the default tenant's
UNTOLD = "json_extract(doc, '$.untold') = 1"

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY,
    doc TEXT NOT NULL,
    task_type TEXT AS (json_extract(doc, '$.task_type')),
    platform TEXT AS (json_extract(doc, '$.platform')),
    status TEXT AS (json_extract(doc, '$.status')),
    owner TEXT AS (json_extract(doc, '$.owner')),
    announced INTEGER AS (json_extract(doc, '$.announced')),
    next_run_at REAL AS (json_extract(doc, '$.next_run_at')),
    queue_order REAL AS (json_extract(doc, '$.queue_order')),
    created_at REAL AS (json_extract(doc, '$.created_at')),
    idempotency_key TEXT AS (json_extract(doc, '$.idempotency_key'))
);
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON tasks (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_waiting ON tasks (platform, queue_order, id, next_run_at, announced) WHERE {WAITING};
CREATE INDEX IF NOT EXISTS by_owner ON tasks (owner, id) WHERE owner IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_time ON tasks (created_at, id);
CREATE INDEX IF NOT EXISTS by_status ON tasks (status, created_at, id);
CREATE INDEX IF NOT EXISTS by_platform ON tasks (platform, created_at, id);
CREATE INDEX IF NOT EXISTS by_type ON tasks (task_type, created_at, id);
CREATE INDEX IF NOT EXISTS by_group ON tasks ({GROUP}, created_at, id) WHERE {GROUP} IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_output ON tasks ({OUTPUT}, created_at, id) WHERE {LIVE};
CREATE UNIQUE INDEX IF NOT EXISTS by_turn ON tasks ({TURN}) WHERE {TURN} IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_call ON tasks ({CALL_AT}, status) WHERE {CALLBACK};
CREATE INDEX IF NOT EXISTS by_untold ON tasks (id) WHERE {UNTOLD};
CREATE TABLE IF NOT EXISTS events (
    task_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (task_id, seq)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS delete_events AFTER DELETE ON tasks BEGIN
    DELETE FROM events WHERE task_id = OLD.id;
END;
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO totals VALUES ('tasks', 0);
CREATE TRIGGER IF NOT EXISTS count_insert AFTER INSERT ON tasks BEGIN
    UPDATE totals SET value = value + 1 WHERE name = 'tasks';
END;
CREATE TRIGGER IF NOT EXISTS count_delete AFTER DELETE ON tasks BEGIN
    UPDATE totals SET value = value - 1 WHERE name = 'tasks';
END;
CREATE TABLE IF NOT EXISTS places (
    count TEXT NOT NULL,
    task_id TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (count, task_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS workers (id TEXT PRIMARY KEY, doc TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS access_keys (
    id TEXT PRIMARY KEY,
    doc TEXT NOT NULL,
    digest TEXT AS (json_extract(doc, '$.digest')),
    created_at REAL AS (json_extract(doc, '$.created_at'))
);
CREATE UNIQUE INDEX IF NOT EXISTS by_digest ON access_keys (digest);
PRAGMA user_version = {VERSION};
COMMIT;
"""

# Made where tenants are first asked for: who has none writes none. All rows are in it: null is the default tenant.
BY_TENANT = f"CREATE INDEX IF NOT EXISTS by_tenant ON tasks ({TENANT}, created_at, id)"


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode that never waits for a lock; file, folder and schema are made where missing.

    Raises:
        sqlite3.OperationalError: another process holds the lock that this needs, or the file cannot be opened.
        OSError: the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        # Before anything else is written: of a file that exists it changes nothing (`sqlite_space` then does).
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
        if connection.execute("PRAGMA user_version").fetchone()[0] < VERSION:
            connection.executescript(SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
