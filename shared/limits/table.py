"""A small table that the processes of one server share, if it was made before they were forked."""
from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache


class Table:
    """Records of one form, all zero at first. Where one may stand follows from its name: in a row of `length` records.
    Each look at a row reads all of it."""

    def __init__(self, form: str, rows: int, length: int) -> None:
        self._form, self._rows, self._length = struct.Struct(form), rows, length
        self._memory = mmap.mmap(-1, self._form.size * length * rows)
        self._threads = threading.Lock()
        self._file = os.memfd_create("limits", os.MFD_CLOEXEC)

    @contextmanager
    def row(self, name: str) -> Iterator[list[tuple[int, tuple[int | float, ...]]]]:
        """The records among which that of `name` is, each with its place. Inside, nobody else is there. The kernel
        takes the lock from a process that dies."""
        place = digest(name) % self._rows
        start, size = place * self._length, self._form.size
        with self._threads:  # the kernel's lock is the process's: it keeps no threads apart
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, place)
            try:
                records = self._form.iter_unpack(self._memory[start * size:(start + self._length) * size])
                yield list(enumerate(records, start))
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def write(self, place: int, *values: int | float) -> None:
        self._form.pack_into(self._memory, place * self._form.size, *values)

    def close(self) -> None:
        self._memory.close()
        os.close(self._file)


@lru_cache(maxsize=4096)
def digest(name: str) -> int:
    """A name as 64 bits in a record; never 0, which is an empty record's."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") or 1
