"""Whose turn it is to do what one worker does for all, such as cleaning up: one worker at a time, each so many seconds.

An object in the cache bucket changes with each turn. A worker that saw it unchanged for the whole time, by its own
monotonic clock, writes it anew under the condition that it is unchanged still. One of many writers succeeds.
"""
from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from shared.cached.notices import put_json
from shared.errors import PreconditionFailed
from shared.files import Files, IfAbsent, IfMatch


class Turns:
    def __init__(self, files: Files, bucket: str, every_s: float, clock: Callable[[], float] = time.monotonic, *,
                 name: str = "turn") -> None:
        self._files, self._path = files, f"{bucket}/housekeeping/{name}.json"
        self._every_s, self._clock = every_s, clock
        self._seen: tuple[str | None, float] | None = None  # its etag, and when it was first seen so

    def take(self, since: float | None = None) -> bool:
        """Whether it is this worker's turn now. It is also where no turn was taken after `since`, a time of the object
        store's.

        Raises:
            Unavailable.
        """
        info = self._files.stat(self._path)
        etag = info.etag if info else None
        if self._seen is None or self._seen[0] != etag:
            self._seen = etag, self._clock()
        asked_for = since is not None and (info is None or (info.modified_at or 0.0) <= since)
        if not asked_for and etag is not None and self._clock() - self._seen[1] < self._every_s:
            return False
        try:
            put_json(self._files, self._path, {"turn": uuid.uuid4().hex}, IfMatch(etag) if etag else IfAbsent())
        except PreconditionFailed:
            return False
        return True
