"""What the sweep has dealt with, by rule: the watermark that makes a pass one listing, however many old objects lie
there.

It is a set of short hashes, each of an object's name and version as the listing shows them: eight bytes an object. A
time would not do: some stores date an object by the beginning of its upload, and several objects have one time. It lies
at `triggers/seen/<rule>` in the cache bucket and holds what the last whole pass has listed. Nothing depends on it but
the work that it saves: what it has lost is looked at again, and has its task.

A rule that leaves old objects alone depends on it: what its first whole pass has listed is old. That pass may take
long, and be cut off. So `triggers/since/<rule>.json` is written when it begins, and dates the rule by the object
store's clock. Until a pass was whole, nothing is kept, and what is not newer than that object is old.
"""
from __future__ import annotations

import hashlib
import sys
import tempfile
from array import array
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path

from shared.cached.notices import put_json
from shared.errors import NotFound, PreconditionFailed
from shared.files import FileInfo, Files, IfAbsent

ITEM_BYTES = 8
MAX_BYTES = 1 << 30  # of what is read: a hundred million objects


class Seen:
    """Of one rule. `is_first`: nobody has kept anything under its name. `existing`: objects count that lay there before
    the rule."""

    def __init__(self, files: Files, bucket: str, rule: str, *, existing: bool = True) -> None:
        self._files, self._path = files, f"{bucket}/triggers/seen/{rule}"
        self._since_path = f"{bucket}/triggers/since/{rule}.json"
        self._existing = existing
        self._since: float | None = None  # of a rule that leaves old objects alone, until a pass was whole
        self._etag: str | None = None
        self._old: array[int] = array("Q")
        self._now: array[int] = array("Q")
        self.is_first = False

    def begin(self) -> None:
        """A pass begins: what another worker has kept meanwhile counts.

        Raises:
            Unavailable.
        """
        self._now = array("Q")
        info = self._files.stat(self._path)
        self.is_first = info is None
        self._since = self._first_look() if self.is_first and not self._existing else None
        if info is None or info.etag == self._etag:
            return
        try:
            info, content = self._files.read_range(self._path, 0, min(max(info.size_bytes, 1), MAX_BYTES))
        except NotFound:
            return
        self._old, self._etag = _unpack(content), info.etag

    def is_old(self, info: FileInfo) -> bool:
        """Whether the rule leaves the object alone, as it lay there before the rule."""
        return self._since is not None and (info.modified_at or 0.0) <= self._since

    def _first_look(self) -> float:
        """When a worker first saw the rule. The listing tells it, as it tells the objects' times: some stores' HEAD has
        whole seconds only."""
        with suppress(PreconditionFailed):
            put_json(self._files, self._since_path, {}, IfAbsent())
        return next((info.modified_at or 0.0 for info in self._files.find(self._since_path)
                     if info.path == self._since_path), 0.0)

    def __contains__(self, item: int) -> bool:
        place = bisect_left(self._old, item)
        return place < len(self._old) and self._old[place] == item

    def add(self, item: int) -> None:
        """The object is there, and is dealt with."""
        self._now.append(item)

    def end(self, *, whole: bool) -> None:
        """Keep what was added; of what was there before the rest too, unless the `whole` listing has shown that it is
        gone. A pass that was cut off has not seen which objects are old, so it keeps nothing while that is asked.

        Raises:
            Unavailable.
        """
        if self._since is not None and not whole:
            return
        kept = array("Q", sorted({*self._now} if whole else {*self._old, *self._now}))
        if kept == self._old and not self.is_first:
            return
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "seen"
            source.write_bytes(_pack(kept))
            self._etag = self._files.upload(source, self._path).etag
        self._old = kept


def item_of(info: FileInfo) -> int:
    told = f"{info.path}\0{info.etag}\0{info.modified_at}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=ITEM_BYTES).digest(), "little")


def _pack(items: array[int]) -> bytes:
    if sys.byteorder == "big":
        items = array("Q", items)
        items.byteswap()
    return items.tobytes()


def _unpack(content: bytes) -> array[int]:
    items = array("Q")
    items.frombytes(content[:len(content) // ITEM_BYTES * ITEM_BYTES])
    if sys.byteorder == "big":
        items.byteswap()
    return items
