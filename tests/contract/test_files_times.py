"""When an object was last written or touched, by the clock of its store."""
from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.files import Files

pytest_plugins = ["tests.contract.files_backends"]

MIB = 1 << 20


def read(files: Files, path: str, folder: Path) -> bytes:
    target = folder / f"read-{threading.get_ident()}-{os.getpid()}"
    files.download(path, target, max_bytes=1 << 40)
    return target.read_bytes()


def test_the_time_of_an_object_is_that_of_its_last_write_or_touch(files: Files, put: Callable, bucket: str,
                                                                  tmp_path: Path) -> None:
    """By the store's own clock, which keeps whole seconds in some answers; a seal on the source does not count."""
    def age_of(path: str) -> float:
        """Seconds between the object's last change and a write of now."""
        return files.stat(put(f"{bucket}/now", b"").path).modified_at - files.stat(path).modified_at

    def wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    sealed = tmp_path / "sealed"
    sealed.write_bytes(b"sealed")
    os.utime(sealed, ns=(10**18, 10**18))
    paths = [put(f"{bucket}/a", b"a").path, files.upload(sealed, f"{bucket}/b", immutable=True).path]
    assert all(age_of(path) < 60 for path in paths)
    wait_for(lambda: all(age_of(path) > 2 for path in paths))
    listed = {info.path: info.modified_at for info in files.find(bucket)}
    assert all(abs(files.stat(path).modified_at - listed[path]) < 1 for path in paths)
    before = [files.stat(path) for path in paths]
    assert [files.touch(path) for path in paths] == [True, True]
    assert all(age_of(path) < 2 for path in paths)
    assert [files.stat(path) for path in paths] == before and sealed.stat().st_mtime_ns == 10**18
    assert [read(files, path, tmp_path) for path in paths] == [b"a", b"sealed"]


def test_what_is_not_there_is_not_touched(files: Files, put: Callable, bucket: str) -> None:
    put(f"{bucket}/a/b", b"x")
    assert [files.touch(f"{bucket}{rest}") for rest in ("/b", "/a", "/a/b/c", "-none/b", "/a/b")] == [
        False, False, False, False, True]


@pytest.mark.parametrize("size", [0, MIB, 65 * MIB])
def test_an_object_of_any_size_can_be_touched(files: Files, put: Callable, bucket: str, size: int) -> None:
    info = put(f"{bucket}/中 a+b%20", b"t" * size)
    assert files.touch(info.path) and files.stat(info.path).size_bytes == size
