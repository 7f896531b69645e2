"""A body that comes in, piece by piece, until it is whole or given up."""
from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

from shared.errors import InvalidRequest, Unavailable
from shared.files.grants import Part
from shared.files.local import _reported as reported
from shared.files.local_parts import Parts, lock, mark_name
from shared.files.local_tree import Parts as Names
from shared.files.local_tree import Tree


class Incoming:
    """`size_bytes` bytes for the object at `path`, which go into the file `fd` from `start`. Whoever opened it calls
    `finish` or `give_up` at the end. `keep` makes what is whole count, and answers an etag; `opened` is closed then.
    """

    def __init__(self, path: str, fd: int, start: int, size_bytes: int, opened: ExitStack, keep: Callable[[], str]
                 ) -> None:
        self.size_bytes = size_bytes
        self._path, self._fd, self._start = path, fd, start
        self._opened, self._keep = opened, keep
        self._seen, self._over = 0, False
        self._lock = threading.Lock()  # nobody writes to a descriptor that is closed, and may be another file's by now

    def write(self, piece: bytes) -> None:
        """Raises:
            InvalidRequest: there is more than was declared.
            Unavailable: such as for a full disk.
        """
        with self._lock, reported(self._path):
            if self._over:
                raise Unavailable("files", "it was given up")
            if self._seen + len(piece) > self.size_bytes:
                raise InvalidRequest(f"内容超过 {self.size_bytes} 字节", f"there are more than {self.size_bytes} bytes")
            view = memoryview(piece)
            while view:
                written = os.pwrite(self._fd, view, self._start + self._seen)
                self._seen, view = self._seen + written, view[written:]

    def finish(self) -> str:
        """All is there: keep it. An etag.

        Raises:
            InvalidRequest: some of it is missing.
            Unavailable.
        """
        with self._lock, reported(self._path):
            if self._over:
                raise Unavailable("files", "it was given up")
            if self._seen != self.size_bytes:
                raise InvalidRequest(f"内容不完整: 应有 {self.size_bytes} 字节, 收到 {self._seen}",
                                     f"the content is cut: {self._seen} of {self.size_bytes} bytes")
            etag = self._keep()
            self._close()
            return etag

    def give_up(self) -> None:
        """Leave nothing behind. What was there before stays. It may be called again, and after `finish`."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._over = True
        self._opened.close()


def take_whole(tree: Tree, names: Names, size_bytes: int) -> Incoming:
    """A whole object: readers see it when it is finished, and not before."""
    opened = ExitStack()
    fd, name = opened.enter_context(tree.unfinished())

    def keep() -> str:
        entry = tree.finish(fd, names)
        with tree.locked():
            tree.place(name, entry)
        return entry.etag

    return Incoming("/".join(names), fd, 0, size_bytes, opened, keep)


def take_part(parts: Parts, names: Names, parts_id: str, part: Part) -> Incoming:
    """A part of an object. From now on it counts as missing, until it has come whole.

    Raises:
        NotFound: the parts are joined, or were forgotten.
        Busy: the same part is coming in already.
    """
    mark = mark_name(part.number, part.size_bytes)
    with ExitStack() as opening:
        folder = opening.enter_context(parts.folder(parts_id))
        fd = opening.enter_context(parts.opened(folder))
        lock(fd, part.start, part.size_bytes)
        parts.check_there(folder, fd)
        with suppress(FileNotFoundError):
            os.unlink(mark, dir_fd=folder)
        opened = opening.pop_all()

    def keep() -> str:
        os.fdatasync(fd)
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=folder))
        return f"{parts_id}-{part.number}"

    return Incoming("/".join(names), fd, part.start, part.size_bytes, opened, keep)
