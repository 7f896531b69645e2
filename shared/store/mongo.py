"""Task documents in MongoDB; nothing here needs more than a standalone server."""
from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.documents import TERMINAL, Event, Status, StoredEvent, Task, WorkerInfo, stored_tenant
from shared.errors import AppError, UnreadableDocument
from shared.store import ASKED_NOT, Claim, DuplicateKey, Glance, TaskFilter, TurnTaken
from shared.store.mongo_accounts import spend
from shared.store.mongo_changes import (
    condition_of,
    filter_of,
    increments_of,
    operators_of,
    stored,
    sum_of,
    take_back,
)
from shared.store.mongo_connection import MongoConnection
from shared.store.mongo_documents import decode, encode, from_document, stage_keys_of, to_document
from shared.store.mongo_glance import find_glance
from shared.store.mongo_indexes import NEWEST_FIRST, QUEUE_ORDER, make_indexes, make_outbox_indexes
from shared.store.mongo_keys import MongoKeys
from shared.store.mongo_places import leave_places, take_places, until_known
from shared.store.reading import (
    CLAIM_FIELDS,
    fill,
    only_readable,
    read_claims,
    read_events,
    read_task,
    read_workers,
    require,
)
from shared.tls import NO_FILES, Tls
from shared.transitions import WAITING, Change

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database

SCAN_S = 60.0  # for a look at all tasks
# https://www.mongodb.com/docs/manual/reference/error-codes/
DUPLICATE_KEY = 11000
WRONG_TYPES = (2, 14)  # BadValue, TypeMismatch: a field is nothing that can be counted up or appended to


class MongoStore(MongoKeys, MongoConnection):
    """The `Store` of the service profile; the database is the one in the URL's path, or `model_convert`.

    Writes are never repeated by the driver: a compare-and-set whose answer was lost may have taken place, and only the
    caller can tell by reading again.
    """

    def __init__(self, url: str, timeout_s: float, client: MongoClient[dict[str, Any]] | None = None,
                 tls: Tls = NO_FILES) -> None:
        super().__init__(url, timeout_s, client, tls)
        self._indexed: set[int] = set()
        self._outbox_indexed: set[int] = set()

    def insert(self, task: Task, events: Sequence[Event] = ()) -> None:
        from pymongo.errors import DuplicateKeyError

        document = _new_document(task, events)
        while True:
            with self._database() as database:
                self._ensure_indexes(database)
                try:
                    database.tasks.insert_one(document)
                    return
                except DuplicateKeyError as error:
                    _refuse_duplicate(database, document, error)

    def insert_group(self, tasks: Sequence[tuple[Task, Sequence[Event]]]) -> None:
        from pymongo.errors import BulkWriteError

        documents = [_new_document(task, events) for task, events in tasks]
        while True:
            with self._database() as database:
                self._ensure_indexes(database)
                try:
                    database.tasks.insert_many(documents)
                    return
                except BulkWriteError as error:
                    refused = error.details["writeErrors"][0]
                    if refused["code"] != DUPLICATE_KEY:
                        raise
                    documents = documents[refused["index"]:]  # those before it are stored
                    _refuse_duplicate(database, documents[0], error)

    def insert_many(self, tasks: Sequence[tuple[Task, Sequence[Event]]]) -> set[str]:
        from pymongo.errors import BulkWriteError

        documents = [_new_document(task, events) for task, events in tasks]
        if not documents:
            return set()
        with self._database() as database:
            self._ensure_indexes(database)
            try:
                database.tasks.insert_many(documents, ordered=False)
                return set()
            except BulkWriteError as error:
                refused = {wrong["index"]: wrong["code"] for wrong in error.details["writeErrors"]}
                if {*refused.values()} != {DUPLICATE_KEY} or error.details.get("writeConcernErrors"):
                    raise
                left_out = {documents[index]["_id"] for index in refused}
                there = [document["_id"] for document in database.tasks.find({"_id": {"$in": [*left_out]}}, {"_id": 1})]
                if there:
                    raise _known(there[0]) from error
                return left_out

    def find_by_keys(self, keys: Sequence[str]) -> dict[str, Task]:
        with self._database() as database:
            found = database.tasks.find({"idempotency_key": {"$in": list(keys)}}, _fields())
            return {str(task.idempotency_key): task for task in map(require, map(_task, found))}

    def get(self, task_id: str, *, tenant: str | None = None) -> Task | None:
        with self._database() as database:
            return _task_or_none(database.tasks.find_one({"_id": task_id} | _of_tenant(tenant), _fields()))

    def glance(self, task_id: str, *, tenant: str | None = None) -> Glance | None:
        with self._database() as database:
            return find_glance(database.tasks, {"_id": task_id} | _of_tenant(tenant))

    def get_many(self, task_ids: list[str], *, tenant: str | None = None) -> dict[str, Task | UnreadableDocument]:
        query = {"_id": {"$in": task_ids}} | _of_tenant(tenant)
        with self._database() as database:
            return {doc["_id"]: _task(doc) for doc in database.tasks.find(query, _fields())}

    def update(self, task_id: str, change: Change) -> Task | None:
        from pymongo.errors import OperationFailure

        with self._database() as database:
            try:
                before = database.tasks.find_one_and_update(filter_of(task_id, change), operators_of(change), _fields())
            except OperationFailure as error:
                if error.code in WRONG_TYPES:
                    raise UnreadableDocument("task", task_id, "a field takes no change") from error
                raise
            if before is None:
                return None
            after = before | encode(change.set) | {
                name: sum_of(before.get(name, 0), by) for name, by in increments_of(change).items()}
            task = _task(after)
            if isinstance(task, UnreadableDocument):
                take_back(database, change, before, after)
            return require(task)

    def update_many(self, changes: Sequence[tuple[str, Change]]) -> None:
        from pymongo import UpdateOne

        if changes:  # one update of many would be no cheaper: not every server has an index for it
            with self._database() as database:
                database.tasks.bulk_write([UpdateOne(filter_of(task_id, change), operators_of(change))
                                           for task_id, change in changes], ordered=False)

    def events(self, task_id: str, after: int = 0) -> list[StoredEvent] | None:
        with self._database() as database:
            found = database.tasks.find_one({"_id": task_id}, {"events": 1, "event_count": 1})
        if found is None:
            return None
        events, count = decode(found.get("events", [])), found.get("event_count", 0)
        if not isinstance(events, list) or not isinstance(count, int):
            raise UnreadableDocument("task", task_id, "events")
        return read_events(task_id, ((seq, event) for seq, event in enumerate(events, count - len(events) + 1)
                                     if seq > after))

    def delete(self, task_id: str, *, where: Mapping[str, Any] | None = None) -> Task | UnreadableDocument | None:
        conditions = {name: condition_of(wanted) for name, wanted in (where or {}).items()}
        with self._database() as database:
            deleted = database.tasks.find_one_and_delete({"_id": task_id} | conditions, _fields())
            return None if deleted is None else _task(deleted)

    def list_page(self, narrow: TaskFilter, page: int, page_size: int) -> tuple[list[Task | UnreadableDocument], int]:
        if narrow.tenant is not None:
            self._make_key_indexes()
        query, skip = _narrowing(narrow), (page - 1) * page_size
        with self._database() as database:
            tasks = database.tasks
            total = tasks.count_documents(query) if query else tasks.estimated_document_count()
            if skip >= total:
                return [], total
            found = tasks.find(query, _fields()).sort(NEWEST_FIRST).skip(skip).limit(page_size)
            return [_task(doc) for doc in found], total

    def live_with_outputs(self, output_paths: list[str]) -> list[Task]:
        query = {"output_path": {"$in": output_paths},
                 "status": {"$nin": list(map(str, TERMINAL))}}
        with self._database() as database:
            found = database.tasks.find(query, _fields()).sort([("created_at", 1), ("_id", 1)])
            return only_readable(map(_task, found))

    def last_turns(self, outputs: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        with self._database() as database:
            for output in outputs:
                turns = {"output_turn": {"$gt": f"{output}-", "$lt": f"{output}."}}
                last = database.tasks.find(turns, {"output_turn": 1}).sort("output_turn", -1).limit(1)
                found |= [(output, int(document["output_turn"].rpartition("-")[2])) for document in last]
        return found

    def waiting(self, platforms: list[str], *, limit: int, unannounced: bool = False) -> list[Task]:
        query: dict[str, Any] = {"owner": None, "status": {"$in": list(map(str, WAITING))},
                                 "platform": {"$in": platforms}, "next_run_at": {"$lte": time.time()}}
        if unannounced:
            query["announced"] = -1
        with self._database() as database:
            return fill(limit, lambda count: [
                _task(doc) for doc in database.tasks.find(query, _fields()).sort(QUEUE_ORDER).limit(count)])

    def calling(self, *, limit: int) -> list[Task]:
        due: dict[str, Any] = {"calls_back": True, "call_at": {"$lte": time.time()}}
        unseen: dict[str, Any] = {"calls_back": True, "call_at": None, "status": {"$in": list(map(str, TERMINAL))}}
        self._ensure_outbox_indexes()
        with self._database() as database:
            def find(query: dict[str, Any], most: int) -> list[Task | UnreadableDocument]:
                return [_task(doc) for doc in database.tasks.find(query, _fields()).sort("call_at", 1).limit(most)]

            tasks = [task for query in (due, unseen) for task in fill(limit, partial(find, query))]
        return tasks[:limit]

    def untold(self, *, limit: int) -> list[Task]:
        self._ensure_outbox_indexes()
        with self._database() as database:
            return fill(limit, lambda count: [
                _task(doc) for doc in database.tasks.find({"untold": True}, _fields()).sort("_id", 1).limit(count)])

    def owned(self) -> list[Claim]:
        with self._database() as database:
            documents = database.tasks.find({"owner": {"$ne": None}}, dict.fromkeys(CLAIM_FIELDS[1:], 1))
            return read_claims((document["_id"], *map(document.get, CLAIM_FIELDS[1:])) for document in documents)

    def stage_keys(self, *, statuses: Collection[Status] = (), among: Collection[str] | None = None) -> set[str]:
        query: dict[str, Any] = {"status": {"$in": [status.value for status in statuses]}} if statuses else {}
        if among is not None:
            query["stages.key"] = {"$in": list(among)}
        # Only housekeeping asks, seldom: an index would cost every stage of every task a write. So it may take longer.
        with self._database(SCAN_S) as database:
            found = database.tasks.find(query, {"stages.key": 1})
            keys = {key for document in found for key in stage_keys_of(document)}
        return keys if among is None else keys & set(among)

    def named(self, holding: str, pattern: re.Pattern[str]) -> set[str]:
        asked = dict.fromkeys((*filter(lambda name: name != "id", ASKED_NOT), "events"), 0)
        with self._database(SCAN_S) as database:  # as `stage_keys`
            return {found for document in database.tasks.find({}, asked | {"_id": 0})
                    if holding in (text := json.dumps(decode(document), default=str, ensure_ascii=False))
                    for found in pattern.findall(text)}

    def save_worker(self, worker: WorkerInfo) -> None:
        with self._database() as database:
            database.workers.replace_one({"_id": worker.id}, to_document(worker), upsert=True)

    def remove_worker(self, worker_id: str) -> None:
        with self._database() as database:
            database.workers.delete_one({"_id": worker_id})

    def workers(self) -> list[WorkerInfo]:
        with self._database() as database:
            return read_workers((doc["_id"], from_document(doc)) for doc in database.workers.find().sort("_id", 1))

    def tidy(self, *, all_at_once: bool = False) -> int:
        """The server uses freed space again by itself; to give it back to the disk is its operator's decision."""
        return 0

    def take_places(self, count: str, task_ids: Sequence[str], most: int, narrow: TaskFilter) -> bool:
        def attempt() -> bool | None:
            with self._database() as database:
                return take_places(database, count, task_ids, most, _narrowing(narrow))

        return until_known(attempt)

    def spend(self, account: str, share: float, life_s: float) -> float:
        def attempt() -> float | None:
            with self._database() as database:
                return spend(database, account, share, life_s)

        return until_known(attempt)

    def leave_places(self, count: str, task_ids: Sequence[str]) -> None:
        with self._database() as database:
            leave_places(database, count, task_ids)

    def _ensure_indexes(self, database: Database[dict[str, Any]]) -> None:
        """Once per process, before its first insert: no document is older than its indexes."""
        if os.getpid() in self._indexed:
            return
        make_indexes(database)
        self._indexed.add(os.getpid())

    def _ensure_outbox_indexes(self) -> None:
        """Once per process, before it first looks for what is owed. An older version's documents may be there already,
        so it may take longer; nobody waits for it but the worker's own thread."""
        if os.getpid() in self._outbox_indexed:
            return
        with self._database(SCAN_S) as database:
            make_outbox_indexes(database)
        self._outbox_indexed.add(os.getpid())


def _new_document(task: Task, events: Sequence[Event]) -> dict[str, Any]:
    """`calls_back` and `untold` are what indexes find them by: servers that speak MongoDB's protocol have no partial
    indexes."""
    marks = ({"calls_back": True} if task.callback_url else {}) | ({"untold": True} if events else {})
    return to_document(task) | {"events": stored(events), "event_count": len(events)} | marks


def _refuse_duplicate(database: Database[dict[str, Any]], document: dict[str, Any], error: Exception) -> None:
    """Returns where what stood in the document's way was deleted in between.

    Raises:
        DuplicateKey: another task has its idempotency key.
        TurnTaken: another task has its turn.
        AppError: a task has its id.
    """
    key = document.get("idempotency_key")
    existing = _task_or_none(database.tasks.find_one({"idempotency_key": key}, _fields()) if key else None)
    if existing and existing.id != document["_id"]:
        raise DuplicateKey(existing) from error
    turn = document.get("output_turn")
    if turn and database.tasks.find_one({"output_turn": turn, "_id": {"$ne": document["_id"]}}, {"_id": 1}):
        raise TurnTaken(turn) from error
    if database.tasks.find_one({"_id": document["_id"]}, {"_id": 1}):
        raise _known(document["_id"]) from error


def _known(task_id: str) -> AppError:
    return AppError(f"任务已存在: {task_id}", f"task exists: {task_id}")


def _task(document: dict[str, Any]) -> Task | UnreadableDocument:
    return read_task(document["_id"], from_document(document))


def _fields() -> dict[str, int]:
    """What a `Task` holds of a document, as a projection. A new one each time: a driver may write into it."""
    return {"events": 0}


def _task_or_none(document: dict[str, Any] | None) -> Task | None:
    return None if document is None else require(_task(document))


def _of_tenant(tenant: str | None) -> dict[str, Any]:
    return {} if tenant is None else {"tenant": stored_tenant(tenant)}  # null is a missing field too


def _narrowing(narrow: TaskFilter) -> dict[str, Any]:
    fields = {"status": narrow.status, "platform": narrow.platform, "task_type": narrow.task_type,
              "group_id": narrow.group_id}
    query: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    query |= {f"labels.{key}": value for key, value in narrow.labels.items()}
    query |= _of_tenant(narrow.tenant)
    times = {"$gt": narrow.created_after, "$lt": narrow.created_before}
    if times := {operator: value for operator, value in times.items() if value is not None}:
        query["created_at"] = times
    return query


def open_mongo(url: str, timeout_s: float, tls: Tls) -> MongoStore:
    return MongoStore(url, timeout_s, tls=tls)
