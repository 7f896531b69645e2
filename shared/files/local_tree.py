"""A folder in which no symbolic link is ever followed: every step down is an `open` that refuses links."""
from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.deadlines import check_time
from shared.errors import Unavailable
from shared.files.paths import PRIVATE_DIR

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)  # there is no such object, and cannot be
MAX_TOLD = 1000  # names of a process
STALE_S = 60.0  # an unfinished file untouched for so long, and unlocked, has lost its writer

Parts = tuple[str, ...]

logger = logging.getLogger(__name__)

MARKS: Parts = (PRIVATE_DIR, "marks")


@dataclass(frozen=True)
class Entry:
    """A regular file. `etag` tells two contents of one name apart: see `Tree.unfinished`. `changed_at` is the time
    that the kernel keeps of each change to a file or its names; nobody can set it."""

    parts: Parts
    size_bytes: int
    etag: str
    changed_at: float = field(compare=False)


def entry_of(parts: Parts, status: os.stat_result) -> Entry:
    return Entry(parts, status.st_size, f"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}",
                 status.st_ctime)


class Tree:
    """All paths are tuples of names below `root`; all methods raise plain OSErrors."""

    def __init__(self, root: Path, lock_timeout_s: float) -> None:
        self._root = root
        self._lock_timeout_s = lock_timeout_s
        self._swept = False
        self._told: set[bytes] = set()  # of these names the log has been told

    @contextmanager
    def folder(self, parts: Parts, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the folder.

        Raises:
            Unavailable: something is wrong with the root itself.
        """
        try:
            if make:
                self._root.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable("files", f"its root folder: {error.strerror}") from error
        try:
            for name in parts:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, dir_fd=fd)
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    def find(self, parts: Parts) -> Entry | None:
        """The regular file at `parts`, if there is one."""
        try:
            with self.folder(parts[:-1]) as folder:
                status = os.stat(parts[-1], dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise
        return entry_of(parts, status) if stat.S_ISREG(status.st_mode) else None

    def open(self, parts: Parts) -> int | None:
        """A descriptor for reading, or None where there is no regular file."""
        try:
            with self.folder(parts[:-1]) as folder:
                # Without O_NONBLOCK a named pipe would hold the caller until somebody writes to it.
                fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        return None

    @contextmanager
    def unfinished(self) -> Iterator[tuple[int, str]]:
        """A new file outside of the names that can be reached: its descriptor, and its name for `place`.

        It is removed at the end unless it was placed; one whose writer was killed is removed by a later writer. The
        nanoseconds of its time are random: an inode may be used again within one tick of the clock, and the etag has
        to differ even then.
        """
        with self.folder((PRIVATE_DIR,), make=True) as private:
            if not self._swept:
                self._swept = True
                _remove_stale(private)
            name = f"unfinished-{secrets.token_hex(8)}"
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=private)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield fd, name
            finally:
                os.close(fd)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=private)

    def link(self, source: Path, parts: Parts) -> Entry:
        """Give a file that nobody changes any more a second name here; its content is not synced.

        Raises:
            OSError: it lies on another file system, or may not be linked.
        """
        with self.folder((PRIVATE_DIR,), make=True) as private, self.folder(parts[:-1], make=True) as folder:
            name = f"unfinished-{secrets.token_hex(8)}"
            os.link(source, name, dst_dir_fd=private)
            os.replace(name, parts[-1], src_dir_fd=private, dst_dir_fd=folder)
            with suppress(FileNotFoundError):  # it was the same file already: rename(2) then does nothing
                os.unlink(name, dir_fd=private)
            return entry_of(parts, os.stat(parts[-1], dir_fd=folder, follow_symlinks=False))

    def finish(self, fd: int, parts: Parts) -> Entry:
        """Sync an unfinished file that is written whole; what it will be at `parts`."""
        written = os.fstat(fd)
        moment = written.st_mtime_ns // 10**9 * 10**9 + secrets.randbelow(10**9)
        os.utime(fd, ns=(moment, moment))
        os.fsync(fd)
        return entry_of(parts, os.fstat(fd))

    def place(self, name: str, entry: Entry) -> None:
        """Give a finished file its place; readers see the old file or this one, with its mark."""
        replaced = self.find(entry.parts)
        with self.folder((PRIVATE_DIR,)) as private, self.folder(entry.parts[:-1], make=True) as folder:
            os.replace(name, entry.parts[-1], src_dir_fd=private, dst_dir_fd=folder)
            os.fsync(folder)
        if replaced is not None:
            self._remove_mark(replaced)

    @contextmanager
    def marked(self, entry: Entry, mark: str | None) -> Iterator[None]:
        """Inside, the file that `entry` tells of can be placed with this mark. Nobody reads the mark before that, since
        no file has this etag yet. It stays unless the block fails."""
        if mark is None:
            yield
            return
        self._write_mark(entry, mark)
        try:
            yield
        except BaseException:
            self._remove_mark(entry)
            raise

    def touch(self, parts: Parts) -> bool:
        """Let the file count as changed now. Its own times stay: they are part of its etag, or a seal."""
        fd = self.open(parts)
        if fd is None:
            return False
        try:
            status = os.fstat(fd)
            os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)
        return True

    def mark_of(self, entry: Entry) -> str | None:
        """What this version of the file was placed with. Whoever changes or replaces the file leaves it without."""
        try:
            with self.folder(MARKS) as marks:
                fd = os.open(_mark_name(entry), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=marks)
        except OSError as error:
            if error.errno in ABSENT:
                return None
            raise
        with os.fdopen(fd, encoding="ascii") as file:
            return file.read()

    def _write_mark(self, entry: Entry, mark: str) -> None:
        with self.folder(MARKS, make=True) as marks:
            fd = os.open(_mark_name(entry), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666,
                         dir_fd=marks)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(mark)
                file.flush()
                os.fsync(fd)
            os.fsync(marks)

    def _remove_mark(self, entry: Entry) -> None:
        with suppress(FileNotFoundError), self.folder(MARKS) as marks:
            os.unlink(_mark_name(entry), dir_fd=marks)

    def remove(self, entry: Entry, *, prune: bool) -> None:
        """Remove the file; with `prune` also the folders that this leaves empty, but for the first."""
        parts = entry.parts
        with self.folder(parts[:-1]) as folder:
            os.unlink(parts[-1], dir_fd=folder)
            os.fsync(folder)
        self._remove_mark(entry)
        for end in range(len(parts) - 1, 1, -1) if prune else ():
            with self.folder(parts[:end - 1]) as above:
                try:
                    os.rmdir(parts[end - 1], dir_fd=above)
                except OSError as error:
                    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                        return
                    raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone among all that change names in this tree, in whichever process.

        Raises:
            Unavailable: somebody else held the lock all the time.
        """
        deadline = time.monotonic() + self._lock_timeout_s
        with self.folder((PRIVATE_DIR,), make=True) as private:
            fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=private)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Unavailable("files", f"locked for {self._lock_timeout_s:.0f} s") from None
                    time.sleep(0.005)
            yield
        finally:
            os.close(fd)

    def walk(self, base: Parts, name_start: str) -> Iterator[Entry]:
        """Regular files below `base` whose path from there starts with `name_start`, sorted as UTF-8 bytes."""
        waiting = self._children(base, name_start)
        while waiting:
            entry = waiting.pop()
            if isinstance(entry, Entry):
                yield entry
            else:
                waiting += self._children(entry, "")

    def _children(self, parts: Parts, name_start: str) -> list[Entry | Parts]:
        """The folder's files and folders, last first: an object store sorts `a-b` before `a/b`."""
        found: list[tuple[bytes, Entry | Parts]] = []
        try:
            with self.folder(parts) as folder, os.scandir(folder) as listing:
                for item in listing:
                    check_time()
                    if not item.name.startswith(name_start):
                        continue
                    if not _is_text(item.name):
                        self._tell_of((*parts, item.name))
                        continue
                    path = (*parts, item.name)
                    if item.is_dir(follow_symlinks=False) and path != (PRIVATE_DIR,):
                        found.append((item.name.encode() + b"/", path))
                    elif item.is_file(follow_symlinks=False):
                        with suppress(FileNotFoundError):
                            found.append((item.name.encode(), entry_of(path, item.stat(follow_symlinks=False))))
        except OSError as error:
            if error.errno not in ABSENT:
                raise
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0], reverse=True)]

    def _tell_of(self, parts: Parts) -> None:
        """A name that is not UTF-8 is no object's: nobody could ask for it. A process says so once of each name."""
        name = os.fsencode("/".join(parts))
        if len(self._told) < MAX_TOLD and name not in self._told:
            self._told.add(name)
            logger.warning("a file is passed over, since its name is not UTF-8: %s", repr(name)[2:-1])


def _mark_name(entry: Entry) -> str:
    return hashlib.sha256("\0".join((*entry.parts, entry.etag)).encode()).hexdigest()


def _is_text(name: str) -> bool:
    """Whether the name is UTF-8; others cannot be told to anybody."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remove_stale(private: int) -> None:
    for name in os.listdir(private):
        if not name.startswith("unfinished-"):
            continue
        with suppress(OSError):  # somebody else's, just placed, or just removed: not ours to clean
            if time.time() - os.stat(name, dir_fd=private).st_mtime < STALE_S:
                continue
            fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=private)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=private)
            finally:
                os.close(fd)
