"""The object store's own time, which the times of its objects are compared with."""
from __future__ import annotations

from shared.cached.notices import put_json
from shared.files import Files


def read_clock(files: Files, bucket: str) -> float:
    """Seconds since the epoch. Raises Unavailable."""
    path = f"{bucket}/housekeeping/clock.json"
    put_json(files, path, {})
    info = files.stat(path)
    return info.modified_at or 0.0 if info else 0.0
