"""What models' headers say, kept for the next request that names the same model."""
from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from shared.deps import process_wide
from shared.files import FileInfo, Files
from shared.preflight.reader import read_objects
from shared.rules.refusal import Refusal

_KEPT = 128


class Headers:
    """The facts of the last models, by path and etag; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], dict[str, Any] | Refusal] = OrderedDict()

    def read(self, info: FileInfo, files: Files, deadline: float) -> dict[str, Any]:
        """Raises what `read_objects` does; a problem is kept as facts are."""
        key = (info.path, info.etag)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
        if found is None:
            try:
                found = read_objects("model", [info], files, deadline)[0]
            except Refusal as problem:
                found = problem
            with self._lock:
                self._kept[key] = found
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        if isinstance(found, Refusal):
            raise Refusal.from_json(found.to_json())
        return found

    def close(self) -> None:
        with self._lock:
            self._kept.clear()


get_headers = process_wide(Headers)
