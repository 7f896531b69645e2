"""The child that parses uploads: it gets the bytes that it asks for and nothing else, and never outlives its time."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.errors import Unavailable
from shared.files import FileInfo
from shared.preflight import reader
from shared.rules.onnx.bounds import MAX_READ_BYTES, Incomplete
from shared.rules.onnx.facts import read_facts
from shared.rules.refusal import Refusal
from tests import models
from tests.fixtures.preflight import Folder, read_here

ROOT = Path(__file__).resolve().parents[2]
MODEL = models.convolution()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Changing:
    """A stand-in for an object store in which something happens at each read."""

    def __init__(self, folder: Folder, happen: Any) -> None:
        self._files, self._happen = folder.files, happen

    def read_range(self, path: str, start: int, length: int) -> tuple[FileInfo, bytes]:
        self._happen()
        return self._files.read_range(path, start, length)


def test_the_child_reads_what_this_process_would(folder: Folder) -> None:
    assert folder.read("model", folder.put("m.onnx", MODEL)) == [read_here(MODEL)]


def test_a_problem_arrives_in_its_own_words(folder: Folder) -> None:
    with pytest.raises(Refusal) as caught:
        folder.read("model", folder.put("m.onnx", b"\x93NUMPY"))
    assert caught.value.code == "model_not_onnx" and "NumPy" in caught.value.message and caught.value.hint


@pytest.mark.parametrize("code", [
    "open('/etc/hostname')", "import socket; socket.socket()", "import os; os.pipe()", "import os; os.listdir('/')",
    "bytearray(600 << 20)"])
def test_after_its_start_it_can_open_nothing_and_has_little_memory(code: str) -> None:
    program = ("import sys, socket; sys.path.append(sys.argv[1]); from shared.preflight import child; child._limit()\n"
               f"try:\n {code}\nexcept (OSError, MemoryError) as error:\n print(type(error).__name__, error)")
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, ROOT], env={}, capture_output=True, text=True,
                          check=True)
    assert "Too many open files" in done.stdout or "MemoryError" in done.stdout


def children() -> set[psutil.Process]:
    """Of this process; servers that other tests share are among them."""
    return set(psutil.Process().children())


def test_it_knows_nothing_of_its_parents_environment(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", "minio://key:secret@host")
    seen: list[str] = []
    path = folder.put("m.onnx", MODEL)
    before = children()

    def look() -> None:
        child, = children() - before
        seen.append(f"{child.environ()} {child.cwd()} {child.num_fds()}")

    folder.read("model", path, files=Changing(folder, look))
    assert seen and set(seen) == {"{} / 3"}


def test_what_takes_too_long_is_killed_and_leaves_no_process(folder: Folder) -> None:
    path = folder.put("m.onnx", MODEL)
    before = children()
    with pytest.raises(Incomplete, match="longer"):
        folder.read("model", path, seconds=0.2, files=Changing(folder, lambda: time.sleep(0.4)))
    assert children() <= before


def test_an_object_that_changes_meanwhile_gets_no_verdict(folder: Folder) -> None:
    path = folder.put("m.onnx", MODEL)
    with pytest.raises(Incomplete, match="written"):
        folder.read("model", path, files=Changing(folder, lambda: folder.put("m.onnx", MODEL)))  # another etag
    folder.put("m.onnx", MODEL)
    with pytest.raises(Incomplete, match="removed"):
        folder.read("model", path, files=Changing(folder, lambda: (folder.root / path).unlink()))


def test_a_store_that_is_away_is_told_as_that(folder: Folder) -> None:
    def away() -> None:
        raise Unavailable("files")

    before = children()
    with pytest.raises(Unavailable):
        folder.read("model", folder.put("m.onnx", MODEL), files=Changing(folder, away))
    assert children() <= before


@pytest.mark.parametrize("says", [
    "ask 0 0 9999999999", "ask 7 0 10", "ask 0 -5 10", "ask 0 0 0", "ask", "nonsense 1 2 3", "done 99999999999",
    "done -1", "done 3\nabc", "", "x" * 5000])
def test_a_child_that_is_taken_over_gets_nothing_beyond_its_ranges(folder: Folder, monkeypatch: pytest.MonkeyPatch,
                                                                   says: str) -> None:
    reads: list[None] = []
    monkeypatch.setattr(reader, "_START", f"import sys; sys.stdin.readline(); print({says!r}, flush=True)")
    with pytest.raises(Incomplete):
        folder.read("model", folder.put("m.onnx", MODEL), files=Changing(folder, lambda: reads.append(None)))
    assert reads == []


def test_a_child_that_asks_for_ever_is_cut_off(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[None] = []
    monkeypatch.setattr(reader, "_START", "while True: print('ask 0 0 1000000', flush=True); "
                                          "import sys; sys.stdin.buffer.read(1000)")
    with pytest.raises(Incomplete):
        folder.read("model", folder.put("m.onnx", MODEL), files=Changing(folder, lambda: reads.append(None)))
    assert len(reads) == MAX_READ_BYTES // 1_000_000


def test_a_child_that_dies_gets_no_verdict(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_START", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(Incomplete):
        folder.read("model", folder.put("m.onnx", MODEL))


def test_no_more_than_a_bounded_number_of_bytes_is_ever_read() -> None:
    tensor = b"\x2a" + b"\xa0\x80\x02" + b"\x4a" + b"\x9c\x80\x02" + bytes(0x801C)  # of 32 KiB, zeros
    count = 20_000
    graph = len(tensor) * count
    start = b"\x08\x08\x3a" + bytes([graph >> shift & 127 | (0 if shift == 28 else 128) for shift in range(0, 29, 7)])
    size, read = len(start) + graph, [0]

    def ask(at: int, length: int) -> bytes:
        read[0] += length
        tile = (at - len(start)) % len(tensor) if at >= len(start) else 0
        data = tensor * (length // len(tensor) + 2)
        return data[tile:tile + length] if at >= len(start) else (start + data)[at:at + length]

    with pytest.raises(Incomplete, match="64 MiB"):
        read_facts(ask, size)
    assert read[0] <= MAX_READ_BYTES


def test_a_start_costs_less_than_a_tenth_of_a_second(folder: Folder) -> None:
    path, used = folder.put("m.onnx", MODEL), []
    for _ in range(5):
        before = sum(os.times()[:4])
        folder.read("model", path)
        used.append(sum(os.times()[:4]) - before)
    assert min(used) < 0.1
