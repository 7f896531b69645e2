"""What every store does with keys."""
from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.access.documents import Key, new_key_id
from shared.access.key_text import digest_of, new_key_text
from shared.errors import AppError, Unavailable
from shared.store import Store, TaskFilter, open_store
from tests.contract.store_model import TIMEOUT_S, make_task

pytest_plugins = ["tests.contract.store_backends"]


def make_key(**fields) -> Key:
    given = {"id": new_key_id(), "digest": digest_of(new_key_text()), "name": "ci", "tenant": "acme",
             "scopes": ["read", "write"], "created_at": 1_700_000_000.5}
    return Key.model_validate(given | fields)


def test_a_key_is_found_by_its_digest_as_it_was_stored(store: Store) -> None:
    key = make_key(prefixes=["models/acme/", "*"], expires_at=2e9)
    store.add_key(key)
    store.add_key(make_key())
    assert store.find_key(key.digest) == key
    assert store.find_key(digest_of(new_key_text())) is None
    assert store.find_key("") is None


def test_keys_are_listed_the_oldest_first(store: Store) -> None:
    late, early = make_key(created_at=2e9), make_key(created_at=1e9)
    for key in (late, early):
        store.add_key(key)
    assert store.all_keys() == [early, late]


def test_a_key_exists_once_by_its_id_and_by_its_digest(store: Store) -> None:
    key = make_key()
    store.add_key(key)
    for again in (make_key(id=key.id), make_key(digest=key.digest)):
        with pytest.raises(AppError, match="key exists") as refused:
            store.add_key(again)
        assert not isinstance(refused.value, Unavailable)
    assert store.all_keys() == [key]


@pytest.mark.parametrize("name", ["expires_at", "revoked_at"])
def test_an_end_is_never_moved_to_later(store: Store, name: str) -> None:
    key = make_key()
    store.add_key(key)
    for at, then in ((2000.5, 2000.5), (3000.0, 2000.5), (1000.0, 1000.0)):
        ended = store.end_key(key.id, **{name: at})
        assert ended == key.model_copy(update={name: then}) == store.find_key(key.digest)
    assert store.end_key(new_key_id(), **{name: 1.0}) is None


def test_the_last_use_is_written_once_in_a_while(store: Store) -> None:
    key, other = make_key(), make_key()
    store.add_key(key)
    store.add_key(other)
    for at, then in ((1000.0, 1000.0), (1059.0, 1000.0), (1060.5, 1060.5), (900.0, 1060.5)):
        store.note_key_use(key.id, at, 60.0)
        assert store.find_key(key.digest).last_used_at == then
    assert store.find_key(other.digest) == other


def test_ends_and_uses_at_once_lose_nothing(store: Store) -> None:
    key = make_key()
    store.add_key(key)
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(store.note_key_use, key.id, float(at), 0.0) for at in range(1, 40)]
        done += [pool.submit(store.end_key, key.id, revoked_at=float(at)) for at in range(100, 120)]
        done += [pool.submit(store.end_key, key.id, expires_at=float(at)) for at in range(200, 220)]
        for one in done:
            one.result()
    found = store.find_key(key.digest)
    assert (found.revoked_at, found.expires_at) == (100.0, 200.0) and found.last_used_at is not None


def test_a_key_outlives_the_tasks_and_its_connections(store_url: str) -> None:
    key = make_key()
    for _ in range(2):
        store = open_store(store_url, TIMEOUT_S)
        if not store.all_keys():
            store.add_key(key)
            task = make_task()
            store.insert(task)
            store.delete(task.id)
        store.close()
    store = open_store(store_url, TIMEOUT_S)
    assert store.all_keys() == [key] and store.list_page(TaskFilter(), 1, 10)[1] == 0
    store.close()


def test_a_key_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    store = open_store(f"sqlite:{tmp_path / 'tasks.db'}", TIMEOUT_S)
    key, damaged = make_key(), make_key()
    store.add_key(key)
    store.add_key(damaged)
    with sqlite3.connect(tmp_path / "tasks.db") as connection:
        connection.execute("UPDATE access_keys SET doc = json_remove(doc, '$.tenant') WHERE id = ?", [damaged.id])
    connection.close()
    assert store.find_key(damaged.digest) is None and store.all_keys() == [key]
    store.close()


def test_a_key_ends_by_revocation_or_at_its_time() -> None:
    now = time.time()
    assert make_key().why_ended(now) is None
    assert make_key(expires_at=now + 1).why_ended(now) is None
    assert make_key(expires_at=now).why_ended(now) == "expired"
    assert make_key(revoked_at=now, expires_at=now + 1).why_ended(now) == "revoked"
