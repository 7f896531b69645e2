"""Stage results by the hash of everything that went into them: on this machine, and in the object store for all.

Object store:  see `shared.cached`; a result's manifest is written last and only if absent
This machine:  <cache dir>/<key[:2]>/<key>/files/     the files; manifest.json beside it; moved into place whole;
                                                      an empty file `shared` once the object store has it too, whose
                                                      time is when the object store was last told that it is in use;
                                                      an empty file `held`, locked by each claim that needs the entry

So a half-written entry does not exist, an entry never changes, and equal files of different results are stored once.
A claim holds the entries of its stages until it ends; eviction passes over an entry that is held. What is not shared
yet can therefore not get lost under the claim that will share it. The lock ends with its process.
The object store's copy goes when nobody has used it for long (`shared.cached.collector`). So a use is told there, once
a day, by touching the manifest; and `worker.housekeeper` tells which copies have gone.
An entry that is damaged all the same (a file lost, cut or written to) is removed by whoever finds it: its stage runs
again.
"""
from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath
from typing import IO, Any

from shared.cached import MANIFEST_LIMIT_BYTES, blob_path, manifest_path
from shared.errors import Damaged, NotFound, PayloadTooLarge, PreconditionFailed, Unavailable
from shared.files import SMALL_BYTES, Files, IfAbsent
from worker.results import StageResult, check_files, damaged, link_or_copy, place_files, seal

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FILES = "files"
SHARED = "shared"
HELD = "held"
HEARD = ".heard"  # its time: when a worker here last knew of all results that are gone from the object store
TOLD_S = 86400.0  # a use is told the object store once in so long
SLOW_S = 600.0  # blobs that were stored longer before their manifest are touched again
MANIFEST_FORM = 1  # of the manifests; not written while it is 1: the version before this one does not know it
_RESULT_FIELDS = {field.name for field in fields(StageResult)}
SCRATCH_LIFE_S = 86400.0  # what a killed worker left in the middle of a download goes after that


class StageCache:
    """Safe for several threads and for several workers on one folder."""

    def __init__(self, folder: Path, limit_bytes: int, files: Files, bucket: str) -> None:
        self._folder, self._limit_bytes, self._files, self._bucket = folder, limit_bytes, files, bucket
        self._scratch = folder / "tmp"
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._used: set[str] = set()  # keys whose use is not told yet
        self._told: dict[str, float] = {}  # {key: when its use was told}, of results without an entry here
        # Tasks that were deleted while a claim here had them: (task's id, keys). The housekeeper takes them.
        self.of_deleted: deque[tuple[str, list[str]]] = deque(maxlen=1000)
        self._grown_bytes: int | None = None  # since the last look at all entries; None: never looked

    def find(self, key: str) -> StageResult | None:
        """The result with this key, from here or from the object store. Only the manifest is read."""
        if result := self.find_here(key):
            return result
        with self._scratch_folder() as scratch, suppress(NotFound):
            self._files.download(self._manifest_path(key), scratch / MANIFEST, max_bytes=MANIFEST_LIMIT_BYTES)
            data = (scratch / MANIFEST).read_bytes()
            result = _read_manifest(key, data)
            if result is None and not _is_of_a_later_form(data):
                self._files.delete(self._manifest_path(key))
            else:
                self._used.add(key)
            return result
        return None

    def find_here(self, key: str) -> StageResult | None:
        """As `find`, on this machine only."""
        local = self._entry(key) / MANIFEST
        with suppress(FileNotFoundError):
            result = _read_manifest(key, local.read_bytes())
            if result is not None:
                os.utime(local)  # the least recently used entry goes first
                self._used.add(key)
                return result
            self._remove(key)
        return None

    def place(self, result: StageResult, target: Path) -> None:
        """Put the result's files below `target`, read-only; from here, or from the object store.

        Raises:
            NotFound: the entry is gone or damaged, here and there; nothing of it is left, so `find` misses it now.
        """
        entry = self._entry(result.key) / FILES
        try:
            place_files(result, entry, target)
        except NotFound:
            shutil.rmtree(target)
            self._remove(result.key)
            if not self._files.touch(self._manifest_path(result.key)):  # it stays while it is read
                self.forget_shared([result.key])
                raise damaged(result) from None
            with self._scratch_folder() as scratch:
                self._download(result, scratch)
                seal(result, scratch)
                place_files(result, scratch, target)
                _, hold = self.keep(result, scratch)
                hold.close()
                self._mark_shared(result.key)

    def keep(self, result: StageResult, folder: Path) -> tuple[StageResult, IO[bytes]]:
        """Take the files below `folder` into the local entry. The answer is the result that the entry has, which is
        another worker's where that was first with the same key, and the hold on it; closing the hold ends it."""
        entry = self._entry(result.key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        with self._scratch_folder() as scratch:
            (scratch / FILES).mkdir()
            for name in result.files:
                link_or_copy(folder / name, scratch / FILES / name)
            seal(result, scratch / FILES)
            (scratch / MANIFEST).write_text(json.dumps(asdict(result)))
            hold = _lock_held(scratch)
            while not _moved(scratch, entry):  # another worker was first with the same key
                if (found := self.find_here(result.key)) and (theirs := self.hold(result.key)):
                    hold.close()
                    result, hold = found, theirs
                    break
        self._evict(sum(about["size_bytes"] for about in result.files.values()))
        return result, hold

    def trim(self) -> None:
        """Evict what does not fit any more, now that holds have ended."""
        self._evict(0)

    def hold(self, key: str) -> IO[bytes] | None:
        """Keep the local entry from being evicted until the hold is closed; None where there is no entry."""
        entry = self._entry(key)
        try:
            hold = _lock_held(entry)
        except FileNotFoundError:
            return None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(hold.fileno()), os.stat(entry / HELD)):
                return hold
        hold.close()  # evicted between the two steps
        return None

    def share(self, result: StageResult) -> None:
        """Store the local entry for all workers; what is there already is not sent.

        Raises:
            NotFound: the entry is gone or damaged.
            Unavailable: the object store does not answer.
        """
        folder = self._entry(result.key) / FILES
        try:
            check_files(result, folder)
            found: set[str] = set()  # blobs that were there before
            began = float("-inf")
            while time.monotonic() - began > SLOW_S:  # again, if the first blobs are no longer new by now
                began = time.monotonic()
                for name, about in result.files.items():
                    if self._share_file(folder / name, about):
                        found.add(name)
        except FileNotFoundError as error:
            raise damaged(result) from error
        except Damaged as error:
            self.discard(result.key)
            raise damaged(result) from error
        with self._scratch_folder() as scratch:
            manifest, path = scratch / MANIFEST, self._manifest_path(result.key)
            manifest.write_text(json.dumps(asdict(result)))
            while True:
                try:
                    self._files.upload(manifest, path, condition=IfAbsent(), immutable=True)
                except PreconditionFailed:
                    if not self._files.touch(path):
                        continue  # removed in between
                break
        for name in found:  # a client may have wanted the result gone that they were there for
            if self._files.stat(blob := self._blob_path(result.files[name])) is None:
                self._files.upload(folder / name, blob, immutable=True, sha256=result.files[name]["sha256"])
        self._mark_shared(result.key)

    def _share_file(self, source: Path, about: dict[str, Any]) -> bool:
        """Whether the blob was there before. It is new afterwards: what is old and named by no manifest may go."""
        path, sha256 = self._blob_path(about), about["sha256"]
        if about["size_bytes"] <= SMALL_BYTES:
            try:
                self._files.upload(source, path, condition=IfAbsent(), immutable=True, sha256=sha256)
            except PreconditionFailed:
                self._files.upload(source, path, immutable=True, sha256=sha256)
                return True
            return False
        stored = self._files.stat(path)
        if stored is None or stored.size_bytes != about["size_bytes"] or not self._files.touch(path):
            self._files.upload(source, path, immutable=True, sha256=sha256)
            return False
        return True

    def is_shared(self, key: str) -> bool:
        """Whether every worker can have the result."""
        return (self._entry(key) / SHARED).exists() or self._files.stat(self._manifest_path(key)) is not None

    def _mark_shared(self, key: str) -> None:
        """The object store has it, and knows that it is in use."""
        try:
            (self._entry(key) / SHARED).touch()
        except FileNotFoundError:  # no entry here, or evicted meanwhile
            self._told[key] = time.monotonic()

    # --- what becomes of the object store's copies ----------------------------------------------------------------

    def tell_uses(self) -> None:
        """Tell the object store which results are in use, each once in `TOLD_S`.

        Raises:
            Unavailable: the rest is told another time.
        """
        now = time.monotonic()
        self._told = {key: at for key, at in self._told.items() if now - at < TOLD_S}
        while self._used:
            key = self._used.pop()
            if self._is_told(key):
                continue
            shared = self._entry(key) / SHARED
            try:
                fresh = time.time() - shared.stat().st_mtime < TOLD_S
            except FileNotFoundError:
                fresh = self._entry(key).exists()  # nobody but this machine has it yet
            if fresh:
                continue
            try:
                told = self._files.touch(self._manifest_path(key))
            except Unavailable:
                self._used.add(key)
                raise
            self._mark_shared(key) if told else self.forget_shared([key])

    def _is_told(self, key: str) -> bool:
        return time.monotonic() - self._told.get(key, float("-inf")) < TOLD_S

    def forget_shared(self, keys: Iterable[str]) -> None:
        """The object store has these no longer: who uses them next shares them anew."""
        for key in keys:
            self._told.pop(key, None)
            self._used.discard(key)
            with suppress(FileNotFoundError):
                (self._entry(key) / SHARED).unlink()

    def discard(self, key: str) -> None:
        """Remove the local entry, whoever holds it: something of it is damaged."""
        logger.warning("a cached result is damaged on this machine: %s", key)
        self._remove(key)

    def purge(self, key: str) -> bool:
        """Remove the local entry; False where a claim holds it."""
        return self._remove_unless_held(key) or not self._entry(key).exists()

    def begin_to_hear(self, trust_s: float) -> None:
        """If no worker here has heard for so long which results are gone: all local entries go."""
        heard = self._folder / HEARD
        with suppress(FileNotFoundError):
            if time.time() - heard.stat().st_mtime > trust_s:
                logger.warning("this machine was away for long, its copies of results are removed")
                for manifest in self._folder.glob(f"??/*/{MANIFEST}"):
                    self._remove_unless_held(manifest.parent.name)
        self.note_heard()

    def note_heard(self) -> None:
        (self._folder / HEARD).touch()

    def _entry(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _manifest_path(self, key: str) -> str:
        return manifest_path(self._bucket, key)

    def _blob_path(self, about: dict[str, Any]) -> str:
        return blob_path(self._bucket, about["sha256"])

    @contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        """A new folder on the cache's own file system; gone at the end unless it was moved away."""
        folder = self._scratch / uuid.uuid4().hex
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _download(self, result: StageResult, folder: Path) -> None:
        """Raises NotFound where the object store lacks a part of it, too; the rest of it is then removed there."""
        try:
            for name, about in result.files.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                found = self._files.download(self._blob_path(about), target, max_bytes=about["size_bytes"])
                if found.sha256 != about["sha256"]:
                    raise damaged(result)
        except (NotFound, PayloadTooLarge) as error:
            logger.warning("a cached result is damaged, its stage will run again: %s", result.key)
            self._files.delete(self._manifest_path(result.key))
            self.forget_shared([result.key])
            if not isinstance(error, NotFound) or (folder / name).exists():
                self._files.delete(self._blob_path(about))
            raise damaged(result) from error

    def _remove(self, key: str) -> None:
        """Remove the local entry: out of sight at once, then its files."""
        with self._scratch_folder() as scratch, suppress(FileNotFoundError):
            os.rename(self._entry(key), scratch / "removed")

    def _remove_unless_held(self, key: str) -> bool:
        try:
            with (self._entry(key) / HELD).open("ab") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._remove(key)
        except (FileNotFoundError, BlockingIOError):  # removed meanwhile; held
            return False
        return True

    def _evict(self, added_bytes: int) -> None:
        """Remove the entries that were not used for longest, until the rest fits or is held. One worker at a time
        looks, and not before the cache may have grown by a twentieth of its limit."""
        if self._grown_bytes is not None and self._grown_bytes + added_bytes < self._limit_bytes / 20:
            self._grown_bytes += added_bytes
            return
        with (self._folder / ".evict.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._grown_bytes = 0
            entries = []
            for manifest in self._folder.glob(f"??/*/{MANIFEST}"):
                with suppress(FileNotFoundError):
                    size = sum(path.lstat().st_size for path in manifest.parent.rglob("*") if path.is_file())
                    entries.append((manifest.stat().st_mtime, size, manifest.parent.name))
            total = sum(size for _, size, _ in entries)
            for _, size, key in sorted(entries):
                if total <= self._limit_bytes:
                    break
                if self._remove_unless_held(key):
                    total -= size
            for left in self._scratch.iterdir():
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < time.time() - SCRATCH_LIFE_S:
                        shutil.rmtree(left, ignore_errors=True)


def _moved(scratch: Path, entry: Path) -> bool:
    """Whether the folder is the entry now; False where there is one already."""
    try:
        os.rename(scratch, entry)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def _lock_held(folder: Path) -> IO[bytes]:
    """The folder's file HELD, made if it is missing, locked together with all who hold the entry.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    held = (folder / HELD).open("ab")
    fcntl.flock(held, fcntl.LOCK_SH)
    return held


def _read_manifest(key: str, data: bytes) -> StageResult | None:
    """None where the data is no manifest of this key and form, or names files outside of its entry. Fields that this
    version does not know are passed over."""
    try:
        found = json.loads(data)
        if found.get("form", 1) != MANIFEST_FORM:
            return None
        result = StageResult(**{name: value for name, value in found.items() if name in _RESULT_FIELDS})
        paths = [PurePosixPath(name) for name in result.files]
        whole = all({"sha256", "size_bytes"} <= about.keys() for about in result.files.values())
    except (ValueError, TypeError, AttributeError):
        return None
    inside = not any(path.is_absolute() or ".." in path.parts for path in paths)
    return result if result.key == key and whole and inside and isinstance(result.facts, dict) else None


def _is_of_a_later_form(data: bytes) -> bool:
    """Then another version made it, and can read it: it is not damaged."""
    try:
        return bool(json.loads(data)["form"] > MANIFEST_FORM)
    except (ValueError, TypeError, LookupError):
        return False
