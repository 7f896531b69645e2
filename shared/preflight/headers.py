"""What models' headers say, kept for the next request that names the same model."""
from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any

from shared.deps import process_wide
from shared.files import FileInfo, Files
from shared.preflight.reader import read_objects
from shared.rules.refusal import Refusal

_KEPT_BYTES = 16 << 20


class Headers:
    """The facts of the last models, by path and etag, as JSON: its size is known, and it is a sixth of the objects'.
    Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._kept_bytes = 0

    def read(self, info: FileInfo, files: Files, deadline: float) -> dict[str, Any]:
        """Raises what `read_objects` does; a problem is kept as facts are."""
        key = (info.path, info.etag)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            found = _read(info, files, deadline)
            self._keep(key, json.dumps(found).encode())
        else:
            found = json.loads(kept)
        if "problem" in found:
            raise Refusal.from_json(found["problem"])
        return found["facts"]

    def _keep(self, key: tuple[str, str], found: bytes) -> None:
        with self._lock:
            self._kept_bytes += len(found) - len(self._kept.pop(key, b""))
            self._kept[key] = found
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def close(self) -> None:
        with self._lock:
            self._kept.clear()
            self._kept_bytes = 0


def _read(info: FileInfo, files: Files, deadline: float) -> dict[str, Any]:
    try:
        return {"facts": read_objects("model", [info], files, deadline)[0]}
    except Refusal as problem:
        return {"problem": problem.to_json()}


get_headers = process_wide(Headers)
