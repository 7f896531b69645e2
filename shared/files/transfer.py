"""Downloads into a local file, for both adapters: whole or not at all, and never beyond a limit."""
from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shared.errors import PayloadTooLarge

CHUNK_BYTES = 1 << 20


@contextmanager
def write_whole(target: Path) -> Iterator[BinaryIO]:
    """A file to write to; it becomes `target` when the block ends well, and is gone when it does not."""
    partial = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with partial.open("xb") as file:
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
