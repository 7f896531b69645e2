"""Digests of plain data and of files: the names by which equal things are known to be equal."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_digest(value: Any) -> str:
    """SHA-256 of the canonical JSON (sorted keys, no spaces) of plain data.

    Raises:
        ValueError: a number is not finite.
    """
    return hashlib.sha256(_CANONICAL.encode(value).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of the content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
