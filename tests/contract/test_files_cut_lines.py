"""Transfers over a line that breaks: they go on where they stopped, with one version of the object, or leave
nothing."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import PreconditionFailed, Unavailable
from shared.files import minio_http, minio_upload
from shared.files.minio import MinioFiles
from shared.files.transfer import CHUNK_BYTES
from tests.faults.proxy import Proxy, Verdict

MIB = 1 << 20
SIZE_BYTES = 40 * MIB
PART_BYTES = 5 * MIB  # the least of S3
HEAD_BYTES = 16 * 1024  # of requests or answers, more than one transfer has of them


@pytest.fixture(autouse=True)
def small_parts_and_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minio_upload, "PART_BYTES", PART_BYTES)
    monkeypatch.setattr(minio_http, "LONG_PAUSES_S", (0.01, 0.02))


@pytest.fixture
def line(minio_url: str) -> Iterator[tuple[Proxy, MinioFiles]]:
    """The proxy, and files behind it."""
    proxy, url = Proxy.before(minio_url)
    files = MinioFiles(url, 5.0)
    yield proxy, files
    files.close()
    proxy.close()


@pytest.fixture
def direct(minio_url: str) -> Iterator[MinioFiles]:
    files = MinioFiles(minio_url, 5.0)
    yield files
    files.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE_BYTES))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "target"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- on the way here --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "times"), [(11 * MIB, 3), (MIB, 30)])
def test_a_download_that_is_cut_goes_on_where_it_stopped(line: tuple[Proxy, MinioFiles], direct: MinioFiles,
                                                         bucket: str, source: Path, target: Path, every: int,
                                                         times: int) -> None:
    stored = direct.upload(source, f"{bucket}/a")
    proxy, files = line
    proxy.answers.cut_after(every, times)
    info = files.download(stored.path, target, max_bytes=SIZE_BYTES)
    assert proxy.answers.cuts_left == 0 and info == stored
    assert info.sha256 == digest(target) == digest(source)
    assert proxy.answers.passed < SIZE_BYTES + CHUNK_BYTES + times * 1024, "content was sent twice"


def test_what_is_replaced_while_it_comes_is_begun_again_and_comes_whole(
        line: tuple[Proxy, MinioFiles], direct: MinioFiles, bucket: str, source: Path, target: Path) -> None:
    direct.upload(source, f"{bucket}/a")
    proxy, files = line
    newer = []

    def replace_before_the_rest(chunk: bytes) -> Verdict:
        if b"\r\nRange: bytes=" in chunk and not newer:
            source.write_bytes(os.urandom(SIZE_BYTES + 1))
            newer.append(direct.upload(source, f"{bucket}/a"))
        return Verdict.PASS

    proxy.judge = replace_before_the_rest
    proxy.answers.cut_after(9 * MIB, 1)
    info = files.download(f"{bucket}/a", target, max_bytes=2 * SIZE_BYTES)
    assert [info] == newer and info.sha256 == digest(target) == digest(source)


def test_who_wants_one_version_is_told_that_it_is_gone(line: tuple[Proxy, MinioFiles], direct: MinioFiles,
                                                       bucket: str, source: Path, target: Path) -> None:
    older = direct.upload(source, f"{bucket}/a")
    source.write_bytes(os.urandom(SIZE_BYTES))
    newer = direct.upload(source, f"{bucket}/a")
    proxy, files = line
    with pytest.raises(PreconditionFailed):
        files.download(older.path, target, max_bytes=SIZE_BYTES, etag=older.etag)
    assert list(target.parent.iterdir()) == [] and proxy.answers.passed < HEAD_BYTES
    assert files.download(newer.path, target, max_bytes=SIZE_BYTES, etag=newer.etag) == newer


def test_an_object_that_never_stands_still_is_given_up(line: tuple[Proxy, MinioFiles], direct: MinioFiles,
                                                       bucket: str, source: Path, target: Path) -> None:
    direct.upload(source, f"{bucket}/a")
    proxy, files = line

    def replace_always(chunk: bytes) -> Verdict:
        if b"\r\nRange: bytes=" in chunk:
            source.write_bytes(os.urandom(SIZE_BYTES))
            direct.upload(source, f"{bucket}/a")
        return Verdict.PASS

    proxy.judge = replace_always
    proxy.answers.cut_after(5 * MIB, 99)
    with pytest.raises(Unavailable):
        files.download(f"{bucket}/a", target, max_bytes=2 * SIZE_BYTES)
    assert list(target.parent.iterdir()) == []


def test_a_line_that_stays_away_ends_the_download_and_leaves_nothing(
        line: tuple[Proxy, MinioFiles], direct: MinioFiles, bucket: str, source: Path, target: Path) -> None:
    stored = direct.upload(source, f"{bucket}/a")
    proxy, files = line

    def go_away(chunk: bytes) -> Verdict:
        return Verdict.CUT if b"\r\nRange: bytes=" in chunk else Verdict.PASS

    proxy.judge = go_away
    proxy.answers.cut_after(5 * MIB, 1)
    with pytest.raises(Unavailable):
        files.download(stored.path, target, max_bytes=SIZE_BYTES)
    assert list(target.parent.iterdir()) == []


# --- on the way out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "times"), [(11 * MIB, 3), (6 * MIB, 6)])
def test_an_upload_that_is_cut_sends_no_part_again_that_has_arrived(
        line: tuple[Proxy, MinioFiles], direct: MinioFiles, bucket: str, source: Path, target: Path, every: int,
        times: int) -> None:
    proxy, files = line
    proxy.requests.cut_after(every, times)
    info = files.upload(source, f"{bucket}/a", sha256=digest(source), mark="mine")
    assert proxy.requests.cuts_left == 0 and direct.stat(info.path) == info
    assert direct.stat(info.path).mark == "mine"
    assert direct.download(info.path, target, max_bytes=SIZE_BYTES).sha256 == digest(source)
    assert proxy.requests.passed < SIZE_BYTES + times * PART_BYTES + 4 * HEAD_BYTES, "parts were sent twice"


def test_a_line_that_stays_away_ends_the_upload_and_leaves_no_part(
        line: tuple[Proxy, MinioFiles], direct: MinioFiles, bucket: str, source: Path) -> None:
    proxy, files = line
    proxy.judge = lambda chunk: Verdict.CUT if b"partNumber=4" in chunk else Verdict.PASS
    with pytest.raises(Unavailable):
        files.upload(source, f"{bucket}/a")
    assert list(direct.find(bucket)) == []
    assert direct._s3.small._list_multipart_uploads(bucket, prefix="a").uploads == []


@pytest.mark.parametrize("size", [3 * MIB, 12 * MIB])
def test_what_arrives_damaged_is_sent_again(line: tuple[Proxy, MinioFiles], direct: MinioFiles, bucket: str,
                                            source: Path, target: Path, size: int) -> None:
    os.truncate(source, size)
    proxy, files = line
    spoiled = 0

    def spoil_one(chunk: bytes) -> Verdict:
        nonlocal spoiled
        if spoiled or len(chunk) < 1 << 14 or b"HTTP/1.1" in chunk:
            return Verdict.PASS
        spoiled += 1
        return Verdict.SPOIL

    proxy.judge = spoil_one
    info = files.upload(source, f"{bucket}/a", sha256=digest(source))
    assert spoiled == 1
    assert direct.download(info.path, target, max_bytes=size).sha256 == digest(source)
