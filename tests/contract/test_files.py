"""What every `Files` keeps to: a folder and a real MinIO alike."""
from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from shared.errors import InvalidRequest, NotFound, PayloadTooLarge, PreconditionFailed, StorageRefused
from shared.files import FileInfo, Files, IfAbsent, IfMatch

pytest_plugins = ["tests.contract.files_backends"]

MIB = 1 << 20
PROCESSES = multiprocessing.get_context("fork")  # a forked child inherits the client: that has to work too
ODD_NAMES = ["a b", " a ", "a+b", "a%20b", "100%", "%2f", "中文模型", "é", "🙂", "a?b=c&d", "a#b", "it's", '"a"', "a:b",
             "a=b;c,d", "~a", "*", "<a>", "$HOME", "a..b", "..a", "...", "deep/er/and/deeper/a", "x" * 250]


def read(files: Files, path: str, folder: Path) -> bytes:
    target = folder / f"read-{threading.get_ident()}-{os.getpid()}"
    files.download(path, target, max_bytes=1 << 40)
    return target.read_bytes()


def in_processes(count: int, work: Callable[[int], object]) -> list[object]:
    """Results of `work(number)`, each in a process of its own, all released at one moment."""
    barrier, results = PROCESSES.Barrier(count), PROCESSES.Queue()

    def run(number: int) -> None:
        barrier.wait()
        try:
            results.put(work(number))
        except Exception as error:
            results.put(type(error).__name__)

    children = [PROCESSES.Process(target=run, args=(number,)) for number in range(count)]
    for child in children:
        child.start()
    gathered = [results.get(timeout=120) for _ in children]
    for child in children:
        child.join()
    return gathered


# --- reading and writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MIB + 1, 64 * MIB, 64 * MIB + 1, 130 * MIB])
def test_what_was_uploaded_comes_back(files: Files, put: Callable, bucket: str, tmp_path: Path, size: int) -> None:
    content = os.urandom(min(size, MIB)) * (size // MIB) + os.urandom(size % MIB) if size > MIB else os.urandom(size)
    info = put(f"{bucket}/a/b.onnx", content)
    assert (info.path, info.size_bytes) == (f"{bucket}/a/b.onnx", size)
    assert files.stat(info.path) == info
    assert files.download(info.path, tmp_path / "out", max_bytes=size) == info
    assert (tmp_path / "out").read_bytes() == content
    assert list(files.find(bucket)) == [info]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_names_like_any_other(files: Files, put: Callable, bucket: str, tmp_path: Path,
                                            name: str) -> None:
    info = put(f"{bucket}/{name}", name.encode(), condition=IfAbsent())
    assert files.stat(f"{bucket}/{name}") == info
    assert read(files, f"{bucket}/{name}", tmp_path) == name.encode()
    assert list(files.find(f"{bucket}/{name}")) == [info]
    files.delete(f"{bucket}/{name}")
    assert list(files.find(bucket)) == []


def test_what_is_not_there_is_not_found(files: Files, put: Callable, bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/a", b"")
    for path in (f"{bucket}/b", f"{bucket}/a/b", f"{bucket}-none/b"):
        assert files.stat(path) is files.peek(path, 9) is None
        with pytest.raises(NotFound):
            files.download(path, tmp_path / "out", max_bytes=9)
        with pytest.raises(NotFound):
            files.read_range(path, 0, 9)
        files.delete(path)
        assert list(files.find(path)) == []
    assert not (tmp_path / "out").exists() and files.stat(f"{bucket}/a")


def test_a_folder_is_no_object(files: Files, put: Callable, bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/a/b", b"x")
    assert files.stat(f"{bucket}/a") is files.peek(f"{bucket}/a", 9) is None
    with pytest.raises(NotFound):
        files.download(f"{bucket}/a", tmp_path / "out", max_bytes=9)
    files.delete(f"{bucket}/a")
    assert files.stat(f"{bucket}/a/b")


def test_any_part_of_an_object_can_be_read(files: Files, put: Callable, bucket: str) -> None:
    content = bytes(range(256)) * 8
    info = put(f"{bucket}/a/b.log", content)
    for start, length in [(0, 1), (0, 2048), (0, 5000), (7, 100), (1000, 1048), (2047, 1), (2047, 9)]:
        assert files.read_range(info.path, start, length) == (info, content[start:start + length]), (start, length)


def test_beyond_an_objects_end_there_is_nothing_to_read(files: Files, put: Callable, bucket: str) -> None:
    short, empty = put(f"{bucket}/short", b"12345"), put(f"{bucket}/empty", b"")
    assert files.read_range(short.path, 5, 10) == files.read_range(short.path, 10**12, 1) == (short, b"")
    assert files.read_range(empty.path, 0, 10) == files.read_range(empty.path, 3, 10) == (empty, b"")


def test_a_peek_tells_what_a_stat_does_and_how_the_object_begins(files: Files, put: Callable, bucket: str) -> None:
    for name, content in (("a b/中 +%20.onnx", bytes(range(256)) * 8), ("one", b"x"), ("empty", b"")):
        info = put(f"{bucket}/{name}", content)
        for length in (1, 2047, 2048, 5000):
            peeked = files.peek(info.path, length)
            assert peeked == (info, content[:length]), (name, length)
            assert vars(peeked[0]) == vars(files.stat(info.path))


def test_a_part_is_of_the_object_that_is_told_with_it(files: Files, put: Callable, bucket: str) -> None:
    """While it grows: what is read fits the etag and the size of one and the same object."""
    written, enough = {}, threading.Event()

    def grow() -> None:
        number = 0
        while not enough.is_set():
            number += 1
            info = put(f"{bucket}/a", b"%04d" % number * number)
            written[info.etag] = (number, info)

    put(f"{bucket}/a", b"")
    writer = threading.Thread(target=grow)
    writer.start()
    try:
        seen: list[tuple[FileInfo, bytes]] = []
        while len({info.etag for info, _ in seen}) < 9:
            seen += [files.read_range(f"{bucket}/a", 0, MIB), files.peek(f"{bucket}/a", MIB)]
    finally:
        enough.set()
        writer.join()
    for info, content in seen:
        if info.size_bytes:
            number, stored = written[info.etag]
            assert (info, content) == (stored, b"%04d" % number * number)


def test_an_object_can_take_the_name_of_a_folder_that_became_empty(files: Files, put: Callable, bucket: str,
                                                                   tmp_path: Path) -> None:
    put(f"{bucket}/a/b/c", b"x")
    files.delete(f"{bucket}/a/b/c")
    put(f"{bucket}/a", b"y")
    assert read(files, f"{bucket}/a", tmp_path) == b"y"


def test_what_is_too_large_is_not_downloaded(files: Files, put: Callable, bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/a", b"12345")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a").write_bytes(b"before")
    with pytest.raises(PayloadTooLarge) as caught:
        files.download(f"{bucket}/a", folder / "a", max_bytes=4)
    assert "5" in caught.value.en and "4" in caught.value.zh
    assert [(f.name, f.read_bytes()) for f in folder.iterdir()] == [("a", b"before")]
    files.download(f"{bucket}/a", folder / "a", max_bytes=5)
    assert (folder / "a").read_bytes() == b"12345"


def test_a_list_is_sorted_and_keeps_to_its_prefix(files: Files, put: Callable, bucket: str) -> None:
    keys = ["a", "a-b", "a.b/c", "a0", "b/x/1", "b/x/2", "b/x1", "b/y", "é/1", "中"]
    for key in keys:
        put(f"{bucket}/{key}", key.encode())
    put(f"{bucket}-2/a", b"")

    def listed(prefix: str) -> list[str]:
        found = list(files.find(prefix))
        assert all(files.stat(info.path) == info for info in found)
        return [info.path.removeprefix(f"{bucket}/") for info in found]

    assert listed(bucket) == listed(f"{bucket}/") == sorted(keys, key=str.encode)
    assert listed(f"{bucket}/b/x") == ["b/x/1", "b/x/2", "b/x1"]
    assert listed(f"{bucket}/b/x/") == ["b/x/1", "b/x/2"]
    assert listed(f"{bucket}/a") == ["a", "a-b", "a.b/c", "a0"]
    assert listed(f"{bucket}/none/") == listed(f"{bucket}/a/") == []


def test_a_list_has_more_than_one_page(files: Files, put: Callable, bucket: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(f"{bucket}/{number:04}", b"x"), range(1005)))
    assert [info.path for info in files.find(bucket)] == [f"{bucket}/{number:04}" for number in range(1005)]


# --- conditions -------------------------------------------------------------------------------------------------------


def test_an_etag_changes_with_the_content_even_at_once(files: Files, put: Callable, bucket: str) -> None:
    etags = [put(f"{bucket}/a", b"%03d" % number).etag for number in range(50)]
    assert len(set(etags)) == 50 and files.stat(f"{bucket}/a").etag == etags[-1]


@pytest.mark.parametrize("size", [3, 65 * MIB])
def test_a_condition_that_does_not_hold_writes_nothing(files: Files, put: Callable, bucket: str, tmp_path: Path,
                                                       size: int) -> None:
    old, content = put(f"{bucket}/a", b"old"), b"n" * size
    with pytest.raises(PreconditionFailed):
        put(f"{bucket}/a", content, condition=IfAbsent())
    with pytest.raises(PreconditionFailed):
        put(f"{bucket}/a", content, condition=IfMatch("another"))
    with pytest.raises(PreconditionFailed):
        put(f"{bucket}/b", content, condition=IfMatch(old.etag))
    assert list(files.find(bucket)) == [old] and read(files, f"{bucket}/a", tmp_path) == b"old"
    new = put(f"{bucket}/a", content, condition=IfMatch(old.etag))
    also = put(f"{bucket}/b", content, condition=IfAbsent())
    assert list(files.find(bucket)) == [new, also]
    with pytest.raises(PreconditionFailed):
        put(f"{bucket}/a", content, condition=IfMatch(old.etag))


@pytest.mark.parametrize(("count", "padding"), [(20, 0), (3, 65 * MIB)])
def test_of_many_processes_that_write_if_absent_one_wins(files: Files, put: Callable, bucket: str, tmp_path: Path,
                                                         count: int, padding: int) -> None:
    files.ping()  # the children inherit a client that has a connection
    results = in_processes(count, lambda number: bool(put(
        f"{bucket}/a", b"%02d" % number + bytes(padding), condition=IfAbsent())) and number)
    winners = [result for result in results if result != "PreconditionFailed"]
    assert len(winners) == 1
    assert read(files, f"{bucket}/a", tmp_path)[:2] == f"{winners[0]:02}".encode()
    assert len(list(files.find(bucket))) == 1


def test_no_update_is_lost_between_processes(files: Files, put: Callable, bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/count", b"0")

    def add(_: int) -> str:
        for _ in range(5):
            while True:
                seen = files.download(f"{bucket}/count", tmp_path / f"count-{os.getpid()}", max_bytes=99)
                count = int((tmp_path / f"count-{os.getpid()}").read_bytes())
                try:
                    put(f"{bucket}/count", b"%d" % (count + 1), condition=IfMatch(seen.etag))
                    break
                except PreconditionFailed:
                    continue
        return "done"

    assert in_processes(6, add) == ["done"] * 6
    assert read(files, f"{bucket}/count", tmp_path) == b"30"


def test_readers_see_the_old_object_or_the_new_one(files: Files, put: Callable, bucket: str, tmp_path: Path) -> None:
    put(f"{bucket}/a", b"0" * 3 * MIB)
    stop = PROCESSES.Event()

    def work(number: int) -> object:
        if number == 0:
            for turn in range(12):
                put(f"{bucket}/a", b"%d" % (turn % 10) * (3 + turn % 3) * MIB)
            stop.set()
            return 0
        seen = set()
        while not stop.is_set():
            content = read(files, f"{bucket}/a", tmp_path)
            seen.add((len(set(content)), len(content) % MIB))
        return seen

    results = [result for result in in_processes(3, work) if result != 0]
    assert results == [{(1, 0)}] * 2


def test_threads_share_one_client(files: Files, put: Callable, bucket: str, tmp_path: Path) -> None:
    def work(number: int) -> bool:
        content = os.urandom(number * 1000)
        put(f"{bucket}/{number}", content)
        return read(files, f"{bucket}/{number}", tmp_path) == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))


# --- one name and another ---------------------------------------------------------------------------------------------


def test_an_immutable_file_comes_back_and_is_replaced_like_any_other(files: Files, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "sealed"
    source.write_bytes(b"sealed")
    first = files.upload(source, f"{bucket}/blob", condition=IfAbsent(), immutable=True)
    assert read(files, f"{bucket}/blob", tmp_path) == b"sealed"
    with pytest.raises(PreconditionFailed):
        files.upload(source, f"{bucket}/blob", condition=IfAbsent(), immutable=True)
    files.upload(source, f"{bucket}/blob", immutable=True)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    assert files.upload(other, f"{bucket}/blob").etag != first.etag
    assert source.read_bytes() == b"sealed"
    files.delete(f"{bucket}/blob")
    assert source.read_bytes() == b"sealed"


def test_a_name_that_no_store_can_hold_is_refused_for_good(files: Files, put: Callable[..., object]) -> None:
    with pytest.raises(StorageRefused) as caught:
        put("bucket/" + "n" * 300, b"content")
    assert caught.value.path == "bucket/" + "n" * 300 and caught.value.why


def test_an_object_below_another_object_harms_neither(files: Files, put: Callable[..., object],
                                                      tmp_path: Path) -> None:
    """A folder cannot hold it; for S3 both are names like any other."""
    put("bucket/model.onnx", b"model")
    with suppress(InvalidRequest):
        put("bucket/model.onnx/below.xml", b"content")
        assert read(files, "bucket/model.onnx/below.xml", tmp_path) == b"content"
    assert read(files, "bucket/model.onnx", tmp_path) == b"model"
