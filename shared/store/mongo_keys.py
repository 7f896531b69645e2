"""Keys in MongoDB: a collection of their own, found by their digests."""
from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from shared.access.documents import Key
from shared.errors import AppError
from shared.store.mongo_documents import from_document, to_document
from shared.store.mongo_indexes import make_key_indexes
from shared.store.reading import read_key, read_keys

if TYPE_CHECKING:
    from pymongo.database import Database


INDEX_S = 60.0  # for the indexes of tasks that are there already


class _Mongo(Protocol):
    _has_key_indexes: bool

    def _make_key_indexes(self) -> None: ...

    def _database(self, timeout_s: float | None = None) -> AbstractContextManager[Database[dict[str, Any]]]: ...


class MongoKeys:
    """The part of `MongoStore` that knows keys."""

    _has_key_indexes = False

    def _make_key_indexes(self: _Mongo) -> None:
        """Once in a process, before it first makes a key or asks for the tasks of a tenant. Tasks may be there already,
        so that it may take longer the first time."""
        if not self._has_key_indexes:
            with self._database(INDEX_S) as database:
                make_key_indexes(database)
            self._has_key_indexes = True

    def add_key(self: _Mongo, key: Key) -> None:
        from pymongo.errors import DuplicateKeyError

        self._make_key_indexes()
        with self._database() as database:
            try:
                database.access_keys.insert_one(to_document(key))
            except DuplicateKeyError as error:
                raise AppError(f"密钥已存在: {key.id}", f"key exists: {key.id}") from error

    def find_key(self: _Mongo, digest: str) -> Key | None:
        with self._database() as database:
            return _read(database.access_keys.find_one({"digest": digest}))

    def all_keys(self: _Mongo) -> list[Key]:
        with self._database() as database:
            found = database.access_keys.find().sort([("created_at", 1), ("_id", 1)])
            return read_keys((str(document["_id"]), from_document(document)) for document in found)

    def end_key(self: _Mongo, key_id: str, *, revoked_at: float | None = None, expires_at: float | None = None
                ) -> Key | None:
        name, at = ("revoked_at", revoked_at) if revoked_at is not None else ("expires_at", expires_at)
        with self._database() as database:
            later = {"$or": [{name: None}, {name: {"$gt": at}}]}
            database.access_keys.update_one({"_id": key_id} | later, {"$set": {name: at}})
            return _read(database.access_keys.find_one({"_id": key_id}))

    def note_key_use(self: _Mongo, key_id: str, at: float, every_s: float) -> None:
        long_ago = {"$or": [{"last_used_at": None}, {"last_used_at": {"$lte": at - every_s}}]}
        with self._database() as database:
            database.access_keys.update_one({"_id": key_id} | long_ago, {"$set": {"last_used_at": at}})


def _read(document: dict[str, Any] | None) -> Key | None:
    return None if document is None else read_key(str(document["_id"]), from_document(document))
