"""Objects that come in parts, as files: one file with a hole for each part that is missing, and a mark for each that
has arrived. Nothing is copied when the parts are joined.

Each part that comes in holds a lock on its own bytes of the file, and joining holds one on all bytes. So no part is
written by two at once, and nobody writes to a file that is an object already. The kernel gives the locks back when
their holder dies.
"""
from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared.errors import Busy, NotFound
from shared.files.local_tree import Parts as Names
from shared.files.local_tree import Tree
from shared.files.paths import PRIVATE_DIR

FOLDER: Names = (PRIVATE_DIR, "parts")
DATA = "data"
KEPT_S = 86400.0  # parts that nobody goes on with are kept for a day, as MinIO keeps them
TIDY_EVERY_S = 600.0
RETRY_AFTER_S = 5

_ID = re.compile("[0-9a-f]{32}")
_MARK = re.compile(r"part-(\d+)-(\d+)")


class Parts:
    """All methods raise plain OSErrors beside what they tell."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._tidied_at: float | None = None

    def begin(self, size_bytes: int) -> str:
        """An object of that size, all of it missing; its id."""
        self._tidy()
        parts_id = secrets.token_hex(16)
        with self.tree.folder((*FOLDER, parts_id), make=True) as folder:
            fd = os.open(DATA, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
            try:
                os.ftruncate(fd, size_bytes)
            finally:
                os.close(fd)
        return parts_id

    def arrived(self, parts_id: str) -> dict[int, int] | None:
        """The parts' sizes by their numbers; None where there is no such object in parts."""
        try:
            with self.folder(parts_id) as folder:
                marks = filter(None, map(_MARK.fullmatch, os.listdir(folder)))
                return {int(mark[1]): int(mark[2]) for mark in marks}
        except NotFound:
            return None

    def join(self, parts_id: str, names: Names) -> None:
        """Give the whole file its place.

        Raises:
            NotFound: it has one already, or was forgotten.
            Busy: a part is coming in.
        """
        with self.folder(parts_id) as folder, self.opened(folder) as fd:
            lock(fd, 0, 0)
            self.check_there(folder, fd)
            entry = self.tree.finish(fd, names)
            with self.tree.locked():
                self.tree.place(f"parts/{parts_id}/{DATA}", entry)
        self._remove(parts_id)

    @contextmanager
    def folder(self, parts_id: str) -> Iterator[int]:
        """Raises:
            NotFound: there is no such object in parts.
        """
        try:
            if not _ID.fullmatch(parts_id):
                raise FileNotFoundError
            with self.tree.folder((*FOLDER, parts_id)) as folder:
                yield folder
        except FileNotFoundError:
            raise NotFound("没有这个分片上传: 已完成, 或已过期", "there is no such upload in parts: it is complete, or "
                                                               "was forgotten") from None

    @contextmanager
    def opened(self, folder: int) -> Iterator[int]:
        """The file, for reading and writing."""
        fd = os.open(DATA, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            yield fd
        finally:
            os.close(fd)

    @staticmethod
    def check_there(folder: int, fd: int) -> None:
        """Under a lock: the file is not an object yet.

        Raises:
            FileNotFoundError.
        """
        if os.stat(DATA, dir_fd=folder, follow_symlinks=False).st_ino != os.fstat(fd).st_ino:
            raise FileNotFoundError

    def _tidy(self) -> None:
        """Remove what nobody has sent a part of for long."""
        now = time.monotonic()
        if self._tidied_at is not None and now - self._tidied_at < TIDY_EVERY_S:
            return
        self._tidied_at = now
        with suppress(FileNotFoundError), self.tree.folder(FOLDER) as folder:
            for parts_id in filter(_ID.fullmatch, os.listdir(folder)):
                with suppress(OSError):  # somebody has joined or removed it just now
                    inside = os.stat(f"{parts_id}/{DATA}", dir_fd=folder, follow_symlinks=False).st_mtime
                    touched = max(inside, os.stat(parts_id, dir_fd=folder, follow_symlinks=False).st_mtime)
                    if time.time() - touched > KEPT_S:
                        self._remove(parts_id)

    def _remove(self, parts_id: str) -> None:
        with suppress(FileNotFoundError), self.tree.folder(FOLDER) as folder:
            shutil.rmtree(parts_id, ignore_errors=True, dir_fd=folder)


def mark_name(number: int, size_bytes: int) -> str:
    return f"part-{number}-{size_bytes}"


def lock(fd: int, start: int, size_bytes: int) -> None:
    """Alone with these bytes of the file (size 0: all of them) until the descriptor is closed.

    Raises:
        Busy: somebody else holds some of them.
    """
    # `struct flock` of fcntl(2). Open file description locks hold between threads of one process too.
    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, start, size_bytes, 0)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, wanted)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise Busy("该文件正在接收分片, 请稍后重试", "a part of this file is coming in: try again later",
                   RETRY_AFTER_S) from error
