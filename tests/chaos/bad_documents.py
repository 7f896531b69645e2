"""Documents that no version of the service would write, put into the store behind its back, and the tasks' ids."""
from __future__ import annotations

import json
import sqlite3
from typing import Any

import pymongo

from shared.documents import Task
from shared.store.mongo_documents import to_document
from tests.chaos.plan import TARGET

# What is wrong with each: an unknown field's value or type must not matter, whoever holds the task.
WRONG: dict[str, dict[str, Any]] = {
    "task_1000000000_1000000001": {"parameters": "no object"},
    "task_1000000000_1000000002": {"status": "archived"},
    "task_1000000000_1000000003": {"stages": [{"name": "fetch"}]},
    "task_1000000000_1000000004": {"status": "running", "owner": "dead-worker", "epoch": 3, "labels": 7},
    "task_1000000000_1000000005": {"status": "archived", "owner": "dead-worker", "epoch": 3, "beat": 1},
    "task_1000000000_1000000006": {"status": "running", "owner": "dead-worker", "epoch": "three"},
}
WORKER = {"host": 7, "slots": "many"}


def put_bad_documents(store_url: str) -> tuple[str, ...]:
    """Needs a store that has its schema already."""
    documents = [_document(task_id, wrong) for task_id, wrong in WRONG.items()]
    if store_url.startswith("sqlite:"):
        connection = sqlite3.connect(store_url.removeprefix("sqlite:"), timeout=10.0)
        with connection:
            connection.executemany("INSERT INTO tasks (id, doc) VALUES (?, ?)", [
                (document["id"], json.dumps(document)) for document in documents])
            connection.execute("INSERT INTO workers (id, doc) VALUES ('bad', ?)", [json.dumps({"id": "bad", **WORKER})])
        connection.close()
    else:
        with pymongo.MongoClient[dict[str, Any]](store_url) as client:
            database = client.get_default_database()
            database.tasks.insert_many([{"_id": document.pop("id"), **document} for document in documents])
            database.workers.insert_one({"_id": "bad", **WORKER})
    return tuple(WRONG)


def _document(task_id: str, wrong: dict[str, Any]) -> dict[str, Any]:
    """It would be the first in the queue."""
    good = to_document(Task(id=task_id, task_type=TARGET.task_types[0], platform=TARGET.name, input_path="no/m.onnx",
                            output_path="no/m.xml", created_at=1e9, queue_order=1e9, updated_at=1e9))
    return {"id": good.pop("_id"), **good, **wrong}
