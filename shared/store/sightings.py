"""What this process could not read: told to the log once for each document, and counted for GET /health."""
from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

from shared.deps import process_wide
from shared.errors import UnreadableDocument

logger = logging.getLogger(__name__)

KEPT = 1000  # the latest: whoever breaks more has other sorrows than their number


@dataclass
class _Sighting:
    why: str
    since: float  # on the monotonic clock


class Sightings:
    """Thread-safe. A document that is in it may be gone or mended by now: who counts looks again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[str, str], _Sighting] = OrderedDict()

    def note(self, document: UnreadableDocument) -> None:
        key = document.kind, document.id
        with self._lock:
            known = self._seen.get(key)
            if known is None:
                self._seen[key] = _Sighting(document.why, time.monotonic())
                if len(self._seen) > KEPT:
                    self._seen.popitem(last=False)
            said = known is not None and known.why == document.why
            if known is not None:
                known.why = document.why
                self._seen.move_to_end(key)
        if not said:
            logger.error("a document cannot be read: %s %.140r: %s", document.kind, document.id, document.why)

    def ids(self, kind: str, for_s: float = 0.0) -> list[str]:
        """The documents of a kind, the latest last; `for_s`: those that are here for so long."""
        before = time.monotonic() - for_s
        with self._lock:
            return [document_id for (of, document_id), seen in self._seen.items()
                    if of == kind and seen.since <= before]

    def keep(self, kind: str, document_ids: Collection[str]) -> None:
        """Forget the documents of a kind but these."""
        with self._lock:
            for key in [key for key in self._seen if key[0] == kind and key[1] not in document_ids]:
                del self._seen[key]

    def forget(self, kind: str, document_id: str) -> None:
        with self._lock:
            self._seen.pop((kind, document_id), None)

    def close(self) -> None:
        """Nothing to end."""


get_sightings = process_wide(Sightings)
