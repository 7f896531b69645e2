"""The peer's tasks in MongoDB, by one client for each process; a write is on the disk when it returns, as ours."""
from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import pymongo
from pymongo.collection import Collection


@lru_cache(maxsize=1)
def tasks() -> Collection[dict[str, Any]]:
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(os.environ["PEER_STORE_URL"], journal=True)
    return client.get_default_database().peer_tasks
