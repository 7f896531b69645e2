"""A store that is away answers `Unavailable` in time, and is used again once it is back, by the same object."""
from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from infra.servers.base import CannotStart, Server
from infra.servers.mongo import start
from shared import transitions
from shared.documents import WorkerInfo
from shared.errors import Unavailable
from shared.store import Store, TaskFilter, open_store
from tests.contract.store_model import make_task
from tests.fixtures.common import missing

TIMEOUT_S = 0.4  # of each call, where every method is tried
MARGIN_S = 20.0  # of a machine that computes something else; without a limit the calls would hang
WORKER = WorkerInfo(id="w", host="h", pid=1, platforms={}, slots=1, started_at=0.0, seen_at=0.0)

EVERY_METHOD: dict[str, Callable[[Store], object]] = {
    "insert": lambda store: store.insert(make_task()),
    "get": lambda store: store.get("task"),
    "get_many": lambda store: store.get_many(["task"]),
    "update": lambda store: store.update("task", transitions.claim("w")),
    "delete": lambda store: store.delete("task"),
    "list": lambda store: store.list_page(TaskFilter(), 1, 10),
    "filtered list": lambda store: store.list_page(TaskFilter(status="pending"), 1, 10),
    "waiting": lambda store: store.waiting(["intel"], limit=1),
    "owned": lambda store: store.owned(),
    "save_worker": lambda store: store.save_worker(WORKER),
    "remove_worker": lambda store: store.remove_worker("w"),
    "workers": lambda store: store.workers(),
    "ping": lambda store: store.ping(),
}
# `owned` too: the reaper's look must fail where nobody can beat.
WRITES = ("insert", "update", "delete", "save_worker", "remove_worker", "owned")


@contextmanager
def unavailable_within(limit_s: float) -> Iterator[None]:
    start_s = time.monotonic()
    with pytest.raises(Unavailable) as refused:
        yield
    assert time.monotonic() - start_s < limit_s
    assert refused.value.dependency == "store"


def until_it_answers(action: Callable[[], object]) -> None:
    """The timeout of these stores is short, and a busy machine may need longer for a first answer."""
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        with suppress(Unavailable):
            action()
            return
    action()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, to be killed."""
    try:
        server = start(tmp_path / "server")
    except CannotStart as error:
        missing("a MongoDB", error)
    yield server
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGCONT)
    server.stop()


def restart(server: Server, tmp_path: Path) -> None:
    server.process = start(tmp_path / "server", port=int(server.url.rpartition("/")[0].rpartition(":")[2])).process


def test_what_mongo_accepted_survives_its_sigkill_and_the_store_reconnects(server: Server, tmp_path: Path):
    store = open_store(server.url, 15.0)
    tasks = [make_task(idempotency_key=f"key {number}") for number in range(20)]
    for task in tasks:
        store.insert(task)
    claimed = store.update(tasks[0].id, transitions.claim("w1"))
    server.kill()
    with unavailable_within(15.0 + MARGIN_S):
        store.get(tasks[0].id)
    restart(server, tmp_path)
    assert store.get_many([task.id for task in tasks]) == {task.id: task for task in [claimed, *tasks[1:]]}
    assert store.update(tasks[0].id, transitions.beat("w1", 1)).beat == 1
    store.close()


def test_every_method_tells_in_time_that_mongo_is_down(server: Server):
    store = open_store(server.url, TIMEOUT_S)
    until_it_answers(lambda: store.insert(make_task()))
    server.kill()
    for method in EVERY_METHOD.values():
        with unavailable_within(TIMEOUT_S + MARGIN_S):
            method(store)
    store.close()


def test_every_method_tells_in_time_that_mongo_hangs_and_works_when_it_goes_on(server: Server):
    store = open_store(server.url, TIMEOUT_S)
    until_it_answers(lambda: store.insert(make_task()))
    os.killpg(server.process.pid, signal.SIGSTOP)
    for method in EVERY_METHOD.values():
        with unavailable_within(TIMEOUT_S + MARGIN_S):
            method(store)
    os.killpg(server.process.pid, signal.SIGCONT)
    for method in EVERY_METHOD.values():
        until_it_answers(lambda method=method: method(store))
    store.close()


def test_a_mongo_that_was_never_there_is_unavailable_in_time():
    store = open_store("mongodb://127.0.0.1:1/tasks", TIMEOUT_S)
    with unavailable_within(TIMEOUT_S + MARGIN_S):
        store.ping()
    store.close()


def test_every_write_tells_in_time_that_another_program_locks_the_file_and_reads_go_on(tmp_path: Path):
    path = tmp_path / "tasks.db"
    store = open_store(f"sqlite:{path}", TIMEOUT_S)
    task = make_task()
    store.insert(task)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for name, method in EVERY_METHOD.items():
        if name in WRITES:
            with unavailable_within(TIMEOUT_S + MARGIN_S):
                method(store)
        else:
            method(store)
    other.execute("ROLLBACK")
    other.close()
    assert store.update(task.id, transitions.claim("w1")).owner == "w1"
    store.close()


def test_a_write_that_finds_the_file_locked_for_a_moment_waits(tmp_path: Path):
    path = tmp_path / "tasks.db"
    store = open_store(f"sqlite:{path}", 30.0)
    store.ping()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["ROLLBACK"])
    release.start()
    start_s = time.monotonic()
    store.insert(make_task())
    assert time.monotonic() - start_s > 0.25
    release.join()
    other.close()
    store.close()


@pytest.mark.parametrize("spoil", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"no database" * 1000)])
def test_a_path_that_is_no_database_is_unavailable(tmp_path: Path, spoil: Callable[[Path], object]):
    spoil(tmp_path / "tasks.db")
    store = open_store(f"sqlite:{tmp_path / 'tasks.db'}", TIMEOUT_S)
    with unavailable_within(TIMEOUT_S + MARGIN_S):
        store.ping()
    store.close()


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path):
    (tmp_path / "file").touch()
    store = open_store(f"sqlite:{tmp_path / 'file' / 'tasks.db'}", TIMEOUT_S)
    with unavailable_within(TIMEOUT_S + MARGIN_S):
        store.ping()
    store.close()
