"""The secret that signs uploads to local files: made once, and the same for all processes that share the folder."""
from __future__ import annotations

import os
import secrets
from contextlib import suppress

from shared.files.local_tree import Tree
from shared.files.paths import PRIVATE_DIR

NAME = "upload-secret"
SECRET_BYTES = 32


def read_secret(tree: Tree) -> bytes:
    """The secret, which only the service's own user may read. Of several processes that make it at once one wins.

    Raises:
        OSError.
    """
    with tree.folder((PRIVATE_DIR,), make=True) as private:
        while True:
            try:
                fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=private)
            except FileNotFoundError:
                _make(private)
                continue
            with os.fdopen(fd, "rb") as file:
                return file.read()


def _make(private: int) -> None:
    """Written whole and synced before it has its name: no process ever reads a part of it."""
    name = f"unfinished-{secrets.token_hex(8)}"  # one that is left is removed like any other unfinished file
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=private)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, NAME, src_dir_fd=private, dst_dir_fd=private)
    finally:
        os.unlink(name, dir_fd=private)
    os.fsync(private)
