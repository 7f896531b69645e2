"""Marks: who wrote an object is known as soon as it is there, and of nothing else; a folder and a real MinIO alike."""
from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import PreconditionFailed
from shared.files import Files, IfAbsent, IfMatch, open_files
from shared.files.local import LocalFiles
from shared.files.minio import MinioFiles
from shared.files.paths import PRIVATE_DIR
from shared.files.routed import RoutedFiles

MIB = 1 << 20
MARK, OTHER = "1 task_1700000000_1234567890 3 intel 0123456789abcdef", "1 another"


@pytest.fixture(params=["local", "minio"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    opened = open_files(f"file:{tmp_path}/buckets" if request.param == "local" else
                        request.getfixturevalue("minio_url"), 30.0)
    yield opened
    opened.close()


@pytest.fixture
def store(files: Files, tmp_path: Path) -> Callable[..., object]:
    def upload(path: str, content: bytes, **more: object) -> object:
        (tmp_path / "source").write_bytes(content)
        return files.upload(tmp_path / "source", path, **more)
    return upload


def mark_at(files: Files, path: str) -> str | None:
    info = files.stat(path)
    peeked = files.peek(path, 1)
    assert info is not None and peeked is not None and peeked[0].mark == info.mark
    return info.mark


@pytest.mark.parametrize("size", [0, 5, MIB + 1, 130 * MIB])
def test_a_mark_comes_back_and_the_content_is_as_it_was(files: Files, store: Callable, bucket: str, tmp_path: Path,
                                                        size: int) -> None:
    info = store(f"{bucket}/a b/中 +%20.onnx", b"x" * size, mark=MARK, condition=IfAbsent())
    assert (files.stat(info.path), mark_at(files, info.path)) == (info, MARK)
    files.download(info.path, tmp_path / "out", max_bytes=size)
    assert (tmp_path / "out").stat().st_size == size


def test_an_object_without_a_mark_has_none(files: Files, store: Callable, bucket: str) -> None:
    store(f"{bucket}/a", b"x")
    store(f"{bucket}/b", b"x", mark=MARK)
    assert [mark_at(files, f"{bucket}/{name}") for name in "ab"] == [None, MARK]


def test_each_version_has_its_own_mark_although_the_content_is_the_same(files: Files, store: Callable, bucket: str
                                                                        ) -> None:
    for mark in (MARK, OTHER, None, MARK):
        store(f"{bucket}/a", b"same", mark=mark)
        assert mark_at(files, f"{bucket}/a") == mark


def test_a_refused_write_leaves_the_mark_that_was_there(files: Files, store: Callable, bucket: str) -> None:
    first = store(f"{bucket}/a", b"first", mark=MARK)
    for size in (5, 2 * MIB):
        for condition in (IfAbsent(), IfMatch("0" * 32)):
            with pytest.raises(PreconditionFailed):
                store(f"{bucket}/a", b"2" * size, mark=OTHER, condition=condition)
    assert (files.stat(f"{bucket}/a"), mark_at(files, f"{bucket}/a")) == (first, MARK)


def test_an_object_that_was_deleted_takes_its_mark_along(files: Files, store: Callable, bucket: str) -> None:
    store(f"{bucket}/a", b"x", mark=MARK)
    files.delete(f"{bucket}/a")
    store(f"{bucket}/a", b"x")
    assert mark_at(files, f"{bucket}/a") is None


def test_only_what_was_seen_is_deleted(files: Files, store: Callable, bucket: str) -> None:
    path = f"{bucket}/a"
    store(path, b"same", mark=MARK)
    seen = files.stat(path)
    store(path, b"same", mark=OTHER)
    files.delete(path, seen=seen)
    assert mark_at(files, path) == OTHER
    files.delete(path, seen=files.stat(path))
    assert files.stat(path) is None
    files.delete(path, seen=seen)


def test_a_lost_answer_is_taken_for_ones_own_write_by_the_mark_not_by_the_content(
        minio_url: str, bucket: str, tmp_path: Path) -> None:
    files = MinioFiles(minio_url, 5.0)
    (tmp_path / "source").write_bytes(b"same")
    info = files.upload(tmp_path / "source", f"{bucket}/a", mark=MARK)
    assert files._has(info.path, info.etag, MARK)
    assert not files._has(info.path, info.etag, OTHER) and not files._has(info.path, info.etag, None)


# --- what people do to files ------------------------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "buckets")


def change_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"yours")


def replace_by_copy(path: Path) -> None:
    path.with_name("theirs").write_bytes(b"their")
    os.replace(path.with_name("theirs"), path)


@pytest.mark.parametrize("harm", [change_in_place, replace_by_copy])
def test_a_file_that_somebody_has_changed_is_not_marked_any_more(local: LocalFiles, tmp_path: Path,
                                                                 harm: Callable[[Path], None]) -> None:
    (tmp_path / "source").write_bytes(b"first")
    local.upload(tmp_path / "source", "bucket/a", mark=MARK)
    harm(tmp_path / "buckets" / "bucket" / "a")
    assert mark_at(local, "bucket/a") is None


def test_a_copy_of_a_file_is_not_marked(local: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"first")
    local.upload(tmp_path / "source", "bucket/a", mark=MARK)
    shutil.copy2(tmp_path / "buckets" / "bucket" / "a", tmp_path / "buckets" / "bucket" / "b")
    os.link(tmp_path / "buckets" / "bucket" / "a", tmp_path / "buckets" / "bucket" / "c")
    assert [mark_at(local, f"bucket/{name}") for name in "abc"] == [MARK, None, None]


def test_marks_leave_nothing_behind_and_are_no_objects(local: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    for mark in (MARK, OTHER, None, MARK):
        local.upload(tmp_path / "source", "bucket/a", mark=mark)
    marks = tmp_path / "buckets" / PRIVATE_DIR / "marks"
    assert len(list(marks.iterdir())) == 1 and [info.path for info in local.find("bucket")] == ["bucket/a"]
    local.delete("bucket/a")
    assert list(marks.iterdir()) == []


def test_files_of_an_absolute_path_are_marked_too(local: LocalFiles, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"x")
    (tmp_path / "allowed").mkdir()
    routed = RoutedFiles(local, [tmp_path / "allowed"])
    info = routed.upload(tmp_path / "source", f"{tmp_path}/allowed/a", mark=MARK)
    assert mark_at(routed, info.path) == MARK
    routed.delete(info.path, seen=routed.stat(info.path))
    assert routed.stat(info.path) is None
