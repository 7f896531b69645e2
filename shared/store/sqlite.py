"""Task documents in one SQLite file, shared by all processes of a machine."""
from __future__ import annotations

import json
import os
import random
import re
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic_core import to_json

from shared.documents import TERMINAL, Event, Status, StoredEvent, Task, WorkerInfo, stored_tenant
from shared.errors import AppError, Unavailable, UnreadableDocument
from shared.store import ASKED_NOT, KEPT_EVENTS, Claim, DuplicateKey, Glance, TaskFilter, TurnTaken
from shared.store.reading import (
    CLAIM_FIELDS,
    fill,
    only_readable,
    read_claims,
    read_events,
    read_glance,
    read_task,
    read_workers,
    require,
)
from shared.store.sqlite_keys import SqliteKeys
from shared.store.sqlite_limits import leave_places, spend, take_places
from shared.store.sqlite_rows import ROW, SHORT_ROW
from shared.store.sqlite_schema import CALL_AT, CALLBACK, GROUP, LIVE, OUTPUT, TENANT, TURN, UNTOLD, WAITING, connect
from shared.store.sqlite_space import give_back
from shared.tls import Tls
from shared.transitions import AtMost, Change, OneOf

Result = TypeVar("Result")
Condition = tuple[str, list[Any]]  # SQL, and what its question marks stand for


class SqliteStore(SqliteKeys):
    """The `Store` of the embedded profile.

    Each call takes a connection of its own from those that this process has open and idle. Connections that were open
    when the process forked are the parent's: the child leaves them alone, unused and unclosed
    (https://www.sqlite.org/howtocorrupt.html, 2.6).
    """

    def __init__(self, path: str, timeout_s: float) -> None:
        self._path = Path(path)
        self._timeout_s = timeout_s
        self._pid = os.getpid()
        self._idle: deque[sqlite3.Connection] = deque()
        self._inherited: list[deque[sqlite3.Connection]] = []

    def insert(self, task: Task, events: Sequence[Event] = ()) -> None:
        self.insert_group([(task, events)])

    def insert_group(self, tasks: Sequence[tuple[Task, Sequence[Event]]]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            for task, events in tasks:
                _insert(connection, task, events)

        while True:
            try:
                return self._run(write, "IMMEDIATE")
            except sqlite3.IntegrityError as error:
                for task, _ in tasks:
                    existing = self.find_by_keys([task.idempotency_key or ""]).get(task.idempotency_key or "")
                    if existing and existing.id != task.id:
                        raise DuplicateKey(existing) from error
                    if self._has_turn(task):
                        raise TurnTaken(task.output_turn) from error
                    if self.get(task.id):
                        raise _known(task.id) from error
            # What stood in the way was deleted in between.

    def _has_turn(self, task: Task) -> bool:
        """Whether another task has its turn."""
        query = f"SELECT id FROM tasks WHERE {TURN} IS NOT NULL AND {TURN} = ? AND id != ?"
        return bool(task.output_turn and self._rows(query, [task.output_turn, task.id]))

    def insert_many(self, tasks: Sequence[tuple[Task, Sequence[Event]]]) -> set[str]:
        def write(connection: sqlite3.Connection) -> set[str]:
            left_out = set()
            for task, events in tasks:
                try:
                    _insert(connection, task, events)
                except sqlite3.IntegrityError as error:
                    if connection.execute("SELECT 1 FROM tasks WHERE id = ?", [task.id]).fetchone():
                        raise _known(task.id) from error
                    left_out.add(task.id)
            return left_out

        return self._run(write, "IMMEDIATE")

    def find_by_keys(self, keys: Sequence[str]) -> dict[str, Task]:
        rows = self._rows(f"SELECT {ROW} FROM tasks WHERE idempotency_key IS NOT NULL AND "
                          "idempotency_key IN (SELECT value FROM json_each(?))", [_json(keys)])
        return {str(task.idempotency_key): task for task in map(require, map(_task, rows))}

    def get(self, task_id: str, *, tenant: str | None = None) -> Task | None:
        where, values = _join([("id = ?", [task_id]), *_of_tenant(tenant)])
        return _first(self._rows(f"SELECT {ROW} FROM tasks{where}", values))

    def glance(self, task_id: str, *, tenant: str | None = None) -> Glance | None:
        where, values = _join([("id = ?", [task_id]), *_of_tenant(tenant)])
        rows = self._rows(f"SELECT {SHORT_ROW} FROM tasks{where}", values)
        return read_glance(*rows[0]) if rows else None

    def get_many(self, task_ids: list[str], *, tenant: str | None = None) -> dict[str, Task | UnreadableDocument]:
        where, values = _join([("id IN (SELECT value FROM json_each(?))", [_json(task_ids)]), *_of_tenant(tenant)])
        rows = self._rows(f"SELECT {ROW} FROM tasks{where}", values)
        return {task.id: task for task in map(_task, rows)}

    def update(self, task_id: str, change: Change) -> Task | None:
        statement, values = _update(task_id, change)

        def write(connection: sqlite3.Connection) -> Task | None:
            rows = connection.execute(statement, values).fetchall()
            task = _first(rows)  # where it cannot be read, that ends the transaction
            if task:
                _append(connection, task_id, change.events, task.event_count)
            return task

        try:
            return self._run(write, "IMMEDIATE")
        except sqlite3.IntegrityError as error:  # the document counts other events than there are
            raise UnreadableDocument("task", task_id, "event_count") from error

    def update_many(self, changes: Sequence[tuple[str, Change]]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            for task_id, change in changes:
                connection.execute(*_update(task_id, change)).fetchall()

        self._run(write, "IMMEDIATE")

    def events(self, task_id: str, after: int = 0) -> list[StoredEvent] | None:
        rows = self._rows("SELECT seq, CAST(event AS BLOB) FROM tasks LEFT JOIN events ON task_id = id AND seq > ? "
                          "WHERE id = ? ORDER BY seq", [after, task_id])
        return read_events(task_id, ((seq, _parsed(event)) for seq, event in rows if seq)) if rows else None

    def delete(self, task_id: str, *, where: Mapping[str, Any] | None = None) -> Task | UnreadableDocument | None:
        conditions = [_condition(f"json_extract(doc, '$.{name}')", wanted) for name, wanted in (where or {}).items()]
        sql, values = _join([("id = ?", [task_id]), *conditions])
        rows = self._rows(f"DELETE FROM tasks{sql} RETURNING {ROW}", values)
        return _task(rows[0]) if rows else None

    def list_page(self, narrow: TaskFilter, page: int, page_size: int) -> tuple[list[Task | UnreadableDocument], int]:
        if narrow.tenant is not None:
            self._make_tenant_index()
        where, values = _join(_narrowing(narrow))
        count = f"SELECT count(*) FROM tasks{where}" if where else "SELECT value FROM totals WHERE name = 'tasks'"
        select = f"SELECT {ROW} FROM tasks{where} ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?"

        def read(connection: sqlite3.Connection) -> tuple[list[Any], int]:
            total = connection.execute(count, values).fetchone()[0]
            return connection.execute(select, [*values, page_size, (page - 1) * page_size]).fetchall(), total

        rows, total = self._run(read, "DEFERRED")  # one snapshot, so that the number fits the page
        return [_task(row) for row in rows], total

    def live_with_outputs(self, output_paths: list[str]) -> list[Task]:
        query = f"SELECT {ROW} FROM tasks WHERE {OUTPUT} IN (SELECT value FROM json_each(?)) AND {LIVE} " \
                "ORDER BY created_at, id"
        return only_readable(map(_task, self._rows(query, [_json(output_paths)])))

    def last_turns(self, outputs: Sequence[str]) -> dict[str, int]:
        query = f"SELECT max({TURN}) FROM tasks WHERE {TURN} IS NOT NULL AND {TURN} > ? AND {TURN} < ?"
        found = [self._rows(query, [f"{output}-", f"{output}."])[0][0] for output in outputs]
        return {output: int(turn.rpartition("-")[2]) for output, turn in zip(outputs, found, strict=True) if turn}

    def waiting(self, platforms: list[str], *, limit: int, unannounced: bool = False) -> list[Task]:
        if not platforms:
            return []
        # One ordered read of the index per target and a merge: with all targets in one condition SQLite would sort
        # everything that waits.
        condition = f"platform = ? AND {WAITING} AND next_run_at <= ?" + (" AND announced = -1" if unannounced else "")
        part = f"SELECT * FROM (SELECT doc, queue_order, id FROM tasks INDEXED BY by_waiting WHERE {condition} " \
               "ORDER BY queue_order, id LIMIT ?)"
        query = f"SELECT {ROW} FROM ({' UNION ALL '.join([part] * len(platforms))}) ORDER BY queue_order, id LIMIT ?"
        now = time.time()

        def fetch(count: int) -> list[Task | UnreadableDocument]:
            values = [value for platform in platforms for value in (platform, now, count)]
            return [_task(row) for row in self._rows(query, [*values, count])]

        return fill(limit, fetch)

    def calling(self, *, limit: int) -> list[Task]:
        ended = ", ".join(f"'{status.value}'" for status in TERMINAL)
        part = f"SELECT * FROM (SELECT doc, id, {CALL_AT} AS due FROM tasks INDEXED BY by_call WHERE {CALLBACK} AND "
        query = f"SELECT {ROW} FROM ({part} {CALL_AT} <= ? ORDER BY due LIMIT ?) UNION ALL " \
                f"{part} {CALL_AT} IS NULL AND status IN ({ended}) LIMIT ?)) LIMIT ?"
        return fill(limit, lambda count: [_task(row) for row in self._rows(query, [time.time(), count, count, count])])

    def untold(self, *, limit: int) -> list[Task]:
        query = f"SELECT {ROW} FROM tasks INDEXED BY by_untold WHERE {UNTOLD} ORDER BY id LIMIT ?"
        return fill(limit, lambda count: [_task(row) for row in self._rows(query, [count])])

    def owned(self) -> list[Claim]:
        fields = ", ".join(f"json_extract(doc, '$.{name}')" for name in CLAIM_FIELDS[1:])
        query = f"SELECT id, {fields} FROM tasks WHERE owner IS NOT NULL"
        # With the lock that writes need: while nobody can beat, nobody must look dead.
        rows = self._run(lambda connection: connection.execute(query).fetchall(), "IMMEDIATE")
        return read_claims(rows)

    def stage_keys(self, *, statuses: Collection[Status] = (), among: Collection[str] | None = None) -> set[str]:
        # A document that somebody has spoilt names nothing; the others are to be read all the same.
        key = "json_extract(CASE stage.type WHEN 'object' THEN stage.value ELSE '{}' END, '$.key')"
        conditions: list[Condition] = [(f"{key} IS NOT NULL", [])]
        if statuses:
            conditions.append(_condition("status", OneOf(tuple(statuses))))
        if among is not None:
            conditions.append((f"{key} IN (SELECT value FROM json_each(?))", [_json(list(among))]))
        where, values = _join(conditions)
        rows = self._rows(f"SELECT DISTINCT {key} FROM tasks, json_each(CASE WHEN json_valid(doc) THEN doc ELSE '{{}}' "
                          f"END, '$.stages') AS stage{where}", values)
        return {key for (key,) in rows}

    def named(self, holding: str, pattern: re.Pattern[str]) -> set[str]:
        passed_over = ", ".join(f"'$.{name}'" for name in ASKED_NOT)
        query = f"SELECT CAST(CASE WHEN json_valid(doc) THEN json_remove(doc, {passed_over}) ELSE doc END AS BLOB) " \
                "FROM tasks WHERE instr(CAST(doc AS BLOB), CAST(? AS BLOB))"
        return self._run(lambda connection: {found for (text,) in connection.execute(query, [holding])
                                             for found in pattern.findall(text.decode(errors="replace"))})

    def take_places(self, count: str, task_ids: Sequence[str], most: int, narrow: TaskFilter) -> bool:
        where, values = _join([("id IS NOT NULL", []), *_narrowing(narrow)])
        return self._run(lambda connection: take_places(connection, count, task_ids, most, where, values), "IMMEDIATE")

    def leave_places(self, count: str, task_ids: Sequence[str]) -> None:
        self._run(lambda connection: leave_places(connection, count, task_ids), "IMMEDIATE")

    def spend(self, account: str, share: float, life_s: float) -> float:
        return self._run(lambda connection: spend(connection, account, share, life_s), "IMMEDIATE")

    def save_worker(self, worker: WorkerInfo) -> None:
        self._rows("INSERT INTO workers (id, doc) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET doc = excluded.doc",
                   [worker.id, worker.model_dump_json()])

    def remove_worker(self, worker_id: str) -> None:
        self._rows("DELETE FROM workers WHERE id = ?", [worker_id])

    def workers(self) -> list[WorkerInfo]:
        return read_workers(self._rows(f"SELECT {ROW} FROM workers ORDER BY id", []))

    def tidy(self, *, all_at_once: bool = False) -> int:
        return self._run(lambda connection: give_back(connection, all_at_once=all_at_once))

    def ping(self) -> None:
        self._rows("SELECT 1 FROM tasks LIMIT 1", [])

    def close(self) -> None:
        idle = self._connections()
        while idle:
            idle.pop().close()

    def _rows(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
        return self._run(lambda connection: connection.execute(statement, values).fetchall())

    def _run(self, work: Callable[[sqlite3.Connection], Result], transaction: str = "") -> Result:
        """What `work` answers; while another process holds the lock, again until the time is over. With `transaction`
        (its kind in SQLite's words) several statements are one.

        SQLite's own waiting (`busy_timeout`) sleeps ever longer, up to 100 ms, and so loses the lock to newcomers for
        seconds when eight processes write at once; short sleeps of random length give each its turn.
        """
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._attempt(work, transaction)
            except sqlite3.IntegrityError:
                raise
            except (sqlite3.Error, OSError) as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= deadline:
                    raise Unavailable("store", str(error)) from error
            time.sleep(random.uniform(0.0005, 0.004))

    def _attempt(self, work: Callable[[sqlite3.Connection], Result], transaction: str) -> Result:
        idle = self._connections()
        try:
            connection = idle.pop()
        except IndexError:
            connection = connect(self._path)
        try:
            if not transaction:
                return work(connection)
            connection.execute(f"BEGIN {transaction}")
            answer = work(connection)
            connection.execute("COMMIT")
            return answer
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            idle.append(connection)

    def _connections(self) -> deque[sqlite3.Connection]:
        if self._pid != os.getpid():
            self._inherited.append(self._idle)
            self._idle, self._pid = deque(), os.getpid()
        return self._idle


def _insert(connection: sqlite3.Connection, task: Task, events: Sequence[Event]) -> None:
    document = task.model_copy(update={"event_count": len(events)}).model_dump_json()
    stored = "json_set(?, '$.untold', json('true'))" if events else "?"
    connection.execute(f"INSERT INTO tasks (id, doc) VALUES (?, {stored})", [task.id, document])
    _append(connection, task.id, events, len(events))


def _known(task_id: str) -> AppError:
    return AppError(f"任务已存在: {task_id}", f"task exists: {task_id}")


def _append(connection: sqlite3.Connection, task_id: str, events: Sequence[Event], count: int) -> None:
    """Add events, the last of which is the task's `count`-th, and drop what is old."""
    if not events:
        return
    connection.executemany("INSERT INTO events (task_id, seq, event) VALUES (?, ?, ?)", [
        (task_id, seq, event.model_dump_json()) for seq, event in enumerate(events, count - len(events) + 1)])
    connection.execute("DELETE FROM events WHERE task_id = ? AND seq <= ?", [task_id, count - KEPT_EVENTS])


def _json(value: Any) -> str:
    return to_json(value, inf_nan_mode="null").decode()


def _parsed(event: bytes) -> Any:
    """What is no JSON is no event either, and stays as it is."""
    try:
        return json.loads(event)
    except ValueError:
        return event


def _task(row: tuple[Any, ...]) -> Task | UnreadableDocument:
    return read_task(*row)


def _first(rows: list[tuple[Any, ...]]) -> Task | None:
    return require(_task(rows[0])) if rows else None


def _condition(field: str, wanted: Any) -> Condition:
    match wanted:
        case None:
            return f"{field} IS NULL", []
        case OneOf(values):
            return f"{field} IN ({', '.join('?' * len(values))})", list(values)
        case AtMost(value):
            return f"{field} <= ?", [value]
    return f"{field} = ?", [wanted]


def _of_tenant(tenant: str | None) -> list[Condition]:
    return [] if tenant is None else [_condition(f"+{TENANT}", stored_tenant(tenant))]  # `+`: found by the id


def _narrowing(narrow: TaskFilter) -> list[Condition]:
    fields = {"status": narrow.status, "platform": narrow.platform, "task_type": narrow.task_type,
              GROUP: narrow.group_id}
    conditions: list[Condition] = [(f"{name} = ?", [value]) for name, value in fields.items() if value is not None]
    if narrow.tenant is not None:
        conditions.append(_condition(TENANT, stored_tenant(narrow.tenant)))
    conditions += [("json_extract(doc, ?) = ?", [f'$.labels."{key}"', value]) for key, value in narrow.labels.items()]
    if narrow.created_after is not None:
        conditions.append(("created_at > ?", [narrow.created_after]))
    if narrow.created_before is not None:
        conditions.append(("created_at < ?", [narrow.created_before]))
    return conditions


def _update(task_id: str, change: Change) -> Condition:
    """The statement that applies a change, and its values; it returns the document."""
    edits = [f"'$.{name}', json(?)" for name in change.set] + ["'$.untold', json('true')"] * bool(change.events)
    increment = change.increment | ({"event_count": len(change.events)} if change.events else {})
    # What is missing counts from 0. What is no number becomes null, and the document is then as unreadable as before.
    edits += [f"'$.{name}', CASE WHEN coalesce(json_type(doc, '$.{name}'), 'integer') IN ('integer', 'real') "
              f"THEN coalesce(json_extract(doc, '$.{name}'), 0) + ? END" for name in increment]
    conditions = [_condition(f"json_extract(doc, '$.{name}')", wanted) for name, wanted in change.where.items()]
    where, wanted_values = _join([("id = ?", [task_id]), *conditions])
    values = [*map(_json, change.set.values()), *increment.values(), *wanted_values]
    return f"UPDATE tasks SET doc = json_set(doc, {', '.join(edits)}){where} RETURNING {ROW}", values


def _join(conditions: list[Condition]) -> Condition:
    """One WHERE clause, empty without conditions."""
    where = " AND ".join(sql for sql, _ in conditions)
    return (f" WHERE {where}" if where else ""), [value for _, values in conditions for value in values]


def open_sqlite(url: str, timeout_s: float, tls: Tls) -> SqliteStore:
    return SqliteStore(url.removeprefix("sqlite:"), timeout_s)
