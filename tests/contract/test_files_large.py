"""Large contents: in little memory, with their holes, digested on their way, watched, and ended in the middle."""
from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import Damaged, PreconditionFailed
from shared.files import Files, minio_touch

pytest_plugins = ["tests.contract.files_backends"]

MIB = 1 << 20

STREAM = """
import re, sys
from pathlib import Path
from shared.files import open_files

def peak():  # KiB; ru_maxrss would begin with what the process had that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

files = open_files(sys.argv[1], 30.0)
files.ping()
before = peak()
files.upload(Path(sys.argv[2]), sys.argv[3])
files.download(sys.argv[3], Path(sys.argv[4]), max_bytes=1 << 40)
print(peak() - before)
"""
UPLOAD = """
import sys, time
from pathlib import Path
from shared.files import open_files

def stop(size):
    print("begins", flush=True)
    time.sleep(600)

open_files(sys.argv[1], 30.0).upload(Path(sys.argv[2]), sys.argv[3], watch=stop)
"""


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_a_large_object_is_streamed_in_little_memory(url: str, bucket: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for _ in range(200):
            file.write(os.urandom(MIB))
    done = subprocess.run([sys.executable, "-c", STREAM, url, source, f"{bucket}/large", target], check=True,
                          capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 16 * MIB
    assert digest(source) == digest(target)


def test_holes_stay_holes_and_are_part_of_the_digest(files: Files, bucket: str, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.write(b"begin")
        file.seek(24 * MIB)
        file.write(b"middle")
        file.truncate(48 * MIB)
    files.upload(source, f"{bucket}/sparse", sha256=digest(source))
    info = files.download(f"{bucket}/sparse", target, max_bytes=48 * MIB)
    assert info.sha256 == digest(target) == digest(source)
    assert target.stat().st_blocks * 512 < 6 * MIB, "the holes were filled"


@pytest.mark.parametrize("size", [0, 3, 3 * MIB, 65 * MIB])
def test_content_that_is_not_what_its_digest_says_is_never_seen(files: Files, bucket: str, tmp_path: Path,
                                                                size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(size))
    with pytest.raises(Damaged) as caught:
        files.upload(source, f"{bucket}/a", sha256=hashlib.sha256(b"another").hexdigest())
    assert f"{bucket}/a" in caught.value.en and list(files.find(bucket)) == []
    info = files.upload(source, f"{bucket}/a", sha256=digest(source))
    assert files.download(info.path, tmp_path / "target", max_bytes=size).sha256 == digest(source)


def test_who_wants_one_version_gets_no_other(files: Files, put: Callable, bucket: str, tmp_path: Path) -> None:
    older = put(f"{bucket}/a", b"older")
    newer = put(f"{bucket}/a", b"newer")
    with pytest.raises(PreconditionFailed):
        files.download(older.path, tmp_path / "out", max_bytes=9, etag=older.etag)
    assert not (tmp_path / "out").exists()
    assert files.download(newer.path, tmp_path / "out", max_bytes=9, etag=newer.etag) == newer


def test_who_watches_a_transfer_hears_how_far_it_is_and_may_end_it(files: Files, put: Callable, bucket: str,
                                                                   tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    source, out = tmp_path / "large", tmp_path / "out"
    out.mkdir()
    source.write_bytes(os.urandom(9 * MIB))
    heard: list[int] = []
    files.upload(source, f"{bucket}/a", watch=heard.append)
    assert heard == sorted(heard) and heard[-1] == 9 * MIB
    heard.clear()
    files.download(f"{bucket}/a", out / "a", max_bytes=9 * MIB, watch=heard.append)
    assert heard == sorted(heard) and heard[-1] == 9 * MIB

    def end(size: int) -> None:
        if size > MIB:
            raise Enough

    with pytest.raises(Enough):
        files.download(f"{bucket}/a", out / "b", max_bytes=9 * MIB, watch=end)
    with pytest.raises(Enough):
        files.upload(source, f"{bucket}/b", watch=end)
    assert [path.name for path in out.iterdir()] == ["a"]
    assert [info.path for info in files.find(bucket)] == [f"{bucket}/a"]


def test_an_interrupted_upload_leaves_what_was_there(url: str, files: Files, put: Callable, bucket: str,
                                                     tmp_path: Path) -> None:
    old = put(f"{bucket}/a", b"old")
    (tmp_path / "large").write_bytes(os.urandom(9 * MIB))
    for key in ("a", "b"):
        upload = subprocess.Popen([sys.executable, "-c", UPLOAD, url, tmp_path / "large", f"{bucket}/{key}"],
                                  stdout=subprocess.PIPE)
        assert upload.stdout.readline() == b"begins\n"
        upload.send_signal(signal.SIGKILL)
        upload.communicate()
    assert list(files.find(bucket)) == [old] and files.read_range(f"{bucket}/a", 0, 9)[1] == b"old"


@pytest.mark.parametrize("size", [0, 3, 12 * MIB])
def test_a_touched_object_is_newer_and_the_same(files: Files, put: Callable, bucket: str, tmp_path: Path, size: int,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest in parts, as those beyond 512 MiB."""
    monkeypatch.setattr(minio_touch, "PART_BYTES", 5 * MIB)
    content = os.urandom(size)
    before = put(f"{bucket}/a b+%2F中", content)
    first = files.stat(before.path).modified_at
    deadline = time.monotonic() + 30.0
    while files.stat(before.path).modified_at == first and time.monotonic() < deadline:
        assert files.touch(before.path)  # a store may tell whole seconds only
    assert files.stat(before.path).modified_at > first
    assert files.read_range(before.path, 0, 1 << 30)[1] == content
    assert not files.touch(f"{bucket}/none")
