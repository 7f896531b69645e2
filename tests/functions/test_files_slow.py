"""Clients that take a download slowly, or not to its end: each costs a connection, and a piece of the content."""
from __future__ import annotations

import shutil
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests

from infra.servers.base import Server
from shared.documents import Task
from shared.files import Files
from shared.store import Store
from tests.functions.finished import CONTENTS, finished_task
from tests.functions.test_slow_clients import connect, is_open, read_to_end, serve

LARGE_BYTES = 256 << 20  # without content on the disk
SLOW = 24

assert serve  # the fixture


@pytest.fixture
def large(store: Store, files: Files, tmp_path: Path) -> Iterator[Task]:
    """A completed task with a large companion."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(LARGE_BYTES)
    task = finished_task(files, tmp_path / "content", CONTENTS | {"det.bin": tmp_path / "large"})
    store.insert(task)
    yield task
    files.delete(f"results/{task.id}/det.bin")


def begin(stack: ExitStack, url: str, path: str) -> socket.socket:
    """A client that has taken the first bytes of the answer and takes no more."""
    connection = connect(stack, url)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def memory(server: Server) -> int:
    return sum(process.memory_info().rss for process in psutil.Process(server.process.pid).children())


@pytest.mark.parametrize("path", ["/files/det.bin", "/files?zip=1"])
def test_slow_readers_of_a_large_file_hold_neither_threads_nor_memory(
        serve: Callable[..., Server], large: Task, path: str) -> None:
    server = serve(client_s="600")  # of one process with two threads
    requests.get(f"{server.url}/tasks/{large.id}/files", timeout=60)
    before = memory(server)
    with ExitStack() as stack:
        slow = [begin(stack, server.url, f"/tasks/{large.id}{path}") for _ in range(SLOW)]
        for _ in range(10):
            assert requests.get(f"{server.url}/tasks/{large.id}/files/det.xml", timeout=60).content == CONTENTS[
                "det.xml"]
        assert memory(server) - before < SLOW * (2 << 20)
        time.sleep(3)  # the server has looked at them, some times
        assert all(map(is_open, slow)) and all(connection.recv(1 << 16) for connection in slow)


@pytest.mark.parametrize("path", ["/files/det.bin", "/files?zip=1"])
def test_whoever_takes_nothing_of_a_download_is_closed(
        serve: Callable[..., Server], large: Task, path: str) -> None:
    server = serve(client_s="2")
    with ExitStack() as stack:
        slow = [begin(stack, server.url, f"/tasks/{large.id}{path}") for _ in range(4)]
        deadline = time.monotonic() + 60
        while any(map(is_open, slow)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not any(map(is_open, slow))


def test_a_reader_that_goes_ends_the_zip(serve: Callable[..., Server], large: Task) -> None:
    server = serve()
    (process,) = psutil.Process(server.process.pid).children()
    with ExitStack() as stack:
        for _ in range(8):
            begin(stack, server.url, f"/tasks/{large.id}/files?zip=1")
    deadline, idle = time.monotonic() + 60, False
    while not idle and time.monotonic() < deadline:
        read = process.io_counters().read_chars
        time.sleep(0.5)
        idle = process.io_counters().read_chars - read < 1 << 20
    assert idle and process.io_counters().read_chars < 8 * LARGE_BYTES / 4


def test_more_downloads_than_there_is_memory_for_are_refused_and_the_others_go_on(
        serve: Callable[..., Server], large: Task) -> None:
    server = serve(client_s="600")
    with ExitStack() as stack:
        answers = []
        while len(answers) < 400 and b"HTTP/1.1 503" not in answers:
            connection = connect(stack, server.url)
            connection.sendall(f"GET /tasks/{large.id}/files/det.bin HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answers.append(connection.recv(12))
        assert set(answers[:-1]) == {b"HTTP/1.1 200"} and answers[-1] == b"HTTP/1.1 503"
        assert len(answers) > 200
        assert requests.get(f"{server.url}/health", timeout=60).status_code == 200


def test_a_file_that_is_replaced_under_a_slow_reader_breaks_off(
        serve: Callable[..., Server], large: Task, files: Files, tmp_path: Path) -> None:
    server = serve()
    with ExitStack() as stack:
        slow = begin(stack, server.url, f"/tasks/{large.id}/files/det.bin")
        (tmp_path / "other").write_bytes(b"another's")
        files.upload(tmp_path / "other", f"results/{large.id}/det.bin")
        assert len(read_to_end(slow)) < LARGE_BYTES


def test_a_large_file_arrives_whole_alone_and_in_the_zip(serve: Callable[..., Server], large: Task, tmp_path: Path
                                                         ) -> None:
    url = f"{serve().url}/tasks/{large.id}/files"
    with requests.get(f"{url}/det.bin", headers={"Range": f"bytes={LARGE_BYTES - 10}-"}, timeout=60) as answer:
        assert (answer.status_code, answer.content) == (206, bytes(10))
    with requests.get(f"{url}?zip=1", timeout=60, stream=True) as answer, (tmp_path / "zip").open("wb") as file:
        shutil.copyfileobj(answer.raw, file)
    with zipfile.ZipFile(tmp_path / "zip") as archive:
        assert archive.getinfo("det.bin").file_size == LARGE_BYTES
        assert archive.testzip() is None and archive.read("det.xml") == CONTENTS["det.xml"]
