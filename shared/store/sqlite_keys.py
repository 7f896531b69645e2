"""Keys in the SQLite file: rows of one document each, found by their digests."""
from __future__ import annotations

import sqlite3
from typing import Any, Protocol

from shared.access.documents import Key
from shared.errors import AppError
from shared.store.reading import read_key, read_keys
from shared.store.sqlite_schema import BY_TENANT

_ROW = "id, CAST(doc AS BLOB)"


class _Rows(Protocol):
    _has_tenant_index: bool

    def _rows(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]: ...

    def _make_tenant_index(self) -> None: ...


class SqliteKeys:
    """The part of `SqliteStore` that knows keys."""

    _has_tenant_index = False

    def _make_tenant_index(self: _Rows) -> None:
        """Once in a process, before it first asks for the tasks of a tenant."""
        if not self._has_tenant_index:
            self._rows(BY_TENANT, [])
            self._has_tenant_index = True

    def add_key(self: _Rows, key: Key) -> None:
        self._make_tenant_index()
        try:
            self._rows("INSERT INTO access_keys (id, doc) VALUES (?, ?)", [key.id, key.model_dump_json()])
        except sqlite3.IntegrityError as error:
            raise AppError(f"密钥已存在: {key.id}", f"key exists: {key.id}") from error

    def find_key(self: _Rows, digest: str) -> Key | None:
        rows = self._rows(f"SELECT {_ROW} FROM access_keys WHERE digest = ?", [digest])
        return read_key(*rows[0]) if rows else None

    def all_keys(self: _Rows) -> list[Key]:
        return read_keys(self._rows(f"SELECT {_ROW} FROM access_keys ORDER BY created_at, id", []))

    def end_key(self: _Rows, key_id: str, *, revoked_at: float | None = None, expires_at: float | None = None
                ) -> Key | None:
        name, at = ("revoked_at", revoked_at) if revoked_at is not None else ("expires_at", expires_at)
        field = f"json_extract(doc, '$.{name}')"
        rows = self._rows(f"UPDATE access_keys SET doc = json_set(doc, '$.{name}', min(?1, coalesce({field}, ?1))) "
                          f"WHERE id = ?2 RETURNING {_ROW}", [at, key_id])
        return read_key(*rows[0]) if rows else None

    def note_key_use(self: _Rows, key_id: str, at: float, every_s: float) -> None:
        self._rows("UPDATE access_keys SET doc = json_set(doc, '$.last_used_at', ?1) WHERE id = ?2 AND "
                   "coalesce(json_extract(doc, '$.last_used_at'), 0) <= ?1 - ?3 RETURNING 1", [at, key_id, every_s])
