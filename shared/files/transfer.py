"""Content on its way into a local file, for both adapters: whole or not at all, holes kept, digested as it passes."""
from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shared.errors import PayloadTooLarge
from shared.files import Watch

CHUNK_BYTES = 1 << 20
STEP_BYTES = 8 << 20  # is copied, then digested while it is still in the kernel's memory
ZEROS = bytes(CHUNK_BYTES)
# copy_file_range (which shares blocks where the file system can) does not work between these two files.
NOT_IN_KERNEL = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def write_whole(target: Path) -> Iterator[BinaryIO]:
    """A file to write to, and to read what was written; it becomes `target` when the block ends well, and is gone when
    it does not."""
    partial = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with partial.open("x+b", buffering=0) as file:
            yield file
        os.replace(partial, target)
    except BaseException:
        with suppress(FileNotFoundError):
            partial.unlink()
        raise


def check_size(path: str, size_bytes: int, max_bytes: int) -> None:
    """Raises PayloadTooLarge where the object is above the limit."""
    if size_bytes > max_bytes:
        raise PayloadTooLarge(f"对象过大: {path} 有 {size_bytes} 字节, 上限为 {max_bytes} 字节",
                              f"object too large: {path} has {size_bytes} bytes, the limit is {max_bytes} bytes")


class Arriving:
    """What arrives of an object: it is written to an empty file in order, and digested. Zeros become a hole."""

    def __init__(self, fd: int, watch: Watch | None = None) -> None:
        self._fd, self._watch = fd, watch
        self.begin_again()

    def begin_again(self) -> None:
        """Forget what has arrived."""
        os.ftruncate(self._fd, 0)
        self.size_bytes = 0
        self._digest = hashlib.sha256()

    def add(self, chunk: bytes) -> None:
        """`chunk` comes next; at most CHUNK_BYTES."""
        self._digest.update(chunk)
        if not ZEROS.startswith(chunk):
            _write(self._fd, chunk, self.size_bytes)
        self.size_bytes += len(chunk)
        if self._watch:
            self._watch(self.size_bytes)

    def finish(self) -> str:
        """All has arrived; its SHA-256."""
        os.ftruncate(self._fd, self.size_bytes)
        return self._digest.hexdigest()


def copy_content(source: int, target: int, watch: Watch | None = None) -> None:
    """Copy the file to an empty one, by descriptors; holes stay holes.

    Raises:
        OSError: also where the source became shorter meanwhile.
    """
    size_bytes = os.fstat(source).st_size
    for begin, end in _filled(source, size_bytes):
        at = begin
        while at < end:
            at += _copy_some(source, target, min(STEP_BYTES, end - at), at)
            if watch:
                watch(at)
    os.ftruncate(target, size_bytes)
    if watch:
        watch(size_bytes)


def copy_file(source: Path, target: Path) -> None:
    """A new file `target` with the content, the times and the mode of `source`; holes stay holes."""
    with source.open("rb") as file, target.open("xb", buffering=0) as copy:
        copy_content(file.fileno(), copy.fileno())
        status = os.fstat(file.fileno())
        os.fchmod(copy.fileno(), status.st_mode & 0o7777)
        os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_digested(source: int, target: int, watch: Watch | None = None) -> str:
    """As `copy_content`, to a file that can be read too; the SHA-256 of what the target has then.

    What was copied is digested while it is still in the kernel's memory.
    """
    digest, done = hashlib.sha256(), 0

    def add(copied: int) -> None:
        nonlocal done
        _digest_range(digest, target, done, copied)
        done = copied
        if watch:
            watch(copied)

    copy_content(source, target, add)
    return digest.hexdigest()


def _filled(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """Where the file has content, `(begin, end)`; all else of it are holes."""
    end = 0
    while end < size_bytes:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
            end = min(os.lseek(fd, begin, os.SEEK_HOLE), size_bytes)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                return
            if error.errno != errno.EINVAL:
                raise
            begin, end = end, size_bytes  # the file system knows no holes
        yield begin, end


def _copy_some(source: int, target: int, length: int, at: int) -> int:
    """Copy at most so many bytes; how many were copied, at least one."""
    try:
        if done := os.copy_file_range(source, target, length, at, at):
            return done
    except OSError as error:
        if error.errno not in NOT_IN_KERNEL:
            raise
    # Some file systems answer an early zero where they cannot do it.
    chunk = os.pread(source, min(length, CHUNK_BYTES), at)
    if not chunk:
        raise OSError(errno.EIO, "the file became shorter while it was copied")
    _write(target, chunk, at)
    return len(chunk)


def _write(fd: int, chunk: bytes, at: int) -> None:
    while chunk:
        written = os.pwrite(fd, chunk, at)
        chunk, at = chunk[written:], at + written


def _digest_range(digest: hashlib._Hash, fd: int, at: int, end: int) -> None:
    while at < end:
        chunk = os.pread(fd, min(CHUNK_BYTES, end - at), at)
        if not chunk:
            raise OSError(errno.EIO, "the file became shorter while it was copied")
        digest.update(chunk)
        at += len(chunk)
