"""The stores that the contract is tried on, as fixtures; a test module names this file in `pytest_plugins`.

`store` is any of them. `store_url` leaves out mongomock: it lives in one process and cannot be away.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mongomock
import pytest

from shared.store import Store, open_store
from shared.store.mongo import MongoStore
from tests.contract.store_model import TIMEOUT_S
from tests.fixtures.mongo import NAMED, fresh_database

# A genuine MongoDB comes from no package registry, so that a test can only use the one that is there.
GENUINE = ["mongodb"] if os.environ.get(NAMED) or shutil.which("mongod") else []
SHARED = ["sqlite", "mongo-java-server", *GENUINE]


@contextmanager
def _empty(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    match name:
        case "sqlite":
            yield f"sqlite:{tmp_path / 'data' / 'tasks.db'}"
        case "mongo-java-server":
            with fresh_database(request.getfixturevalue("mongo_java_server_url")) as url:
                yield url
        case "mongodb":
            yield request.getfixturevalue("mongo_url")


@pytest.fixture(params=SHARED)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store that several processes can use."""
    with _empty(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture(params=[*SHARED, "mongomock"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    if request.param == "mongomock":
        yield MongoStore("mongodb://unused", TIMEOUT_S, client=mongomock.MongoClient())
        return
    with _empty(request.param, request, tmp_path) as url:
        store = open_store(url, TIMEOUT_S)
        yield store
        store.close()


@pytest.fixture
def shared_store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url, TIMEOUT_S)
    yield store
    store.close()
