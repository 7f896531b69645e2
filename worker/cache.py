"""Stage results by the hash of everything that went into them: on this machine, and in the object store for all.

Object store:  <cache bucket>/blobs/<sha256>          file contents, each once
               <cache bucket>/stages/<key>.json       the manifest, written last and only if absent
This machine:  <cache dir>/<key[:2]>/<key>/files/     the files; manifest.json beside it; moved into place whole;
                                                      an empty file `shared` once the object store has it too;
                                                      an empty file `held`, locked by each claim that needs the entry

So a half-written entry does not exist, an entry never changes, and equal files of different results are stored once.
A claim holds the entries of its stages until it ends; eviction passes over an entry that is held. What is not shared
yet can therefore not get lost under the claim that will share it. The lock ends with its process.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import IO, Any

from shared.digests import file_digest
from shared.errors import NotFound, PayloadTooLarge, PreconditionFailed
from shared.files import SMALL_BYTES, Files, IfAbsent
from worker.results import StageResult, check_files, damaged, link_or_copy, place_files, seal

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FILES = "files"
SHARED = "shared"
HELD = "held"
MANIFEST_LIMIT_BYTES = 64 << 20
SCRATCH_LIFE_S = 86400.0  # what a killed worker left in the middle of a download goes after that


class StageCache:
    """Safe for several threads and for several workers on one folder."""

    def __init__(self, folder: Path, limit_bytes: int, files: Files, bucket: str) -> None:
        self._folder, self._limit_bytes, self._files, self._bucket = folder, limit_bytes, files, bucket
        self._scratch = folder / "tmp"
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._grown_bytes: int | None = None  # since the last look at all entries; None: never looked

    def find(self, key: str) -> StageResult | None:
        """The result with this key, from here or from the object store. Only the manifest is read."""
        if result := self.find_here(key):
            return result
        with self._scratch_folder() as scratch, suppress(NotFound):
            self._files.download(self._manifest_path(key), scratch / MANIFEST, max_bytes=MANIFEST_LIMIT_BYTES)
            result = _read_manifest(key, (scratch / MANIFEST).read_bytes())
            if result is None:
                self._files.delete(self._manifest_path(key))
            return result
        return None

    def find_here(self, key: str) -> StageResult | None:
        """As `find`, on this machine only."""
        local = self._entry(key) / MANIFEST
        with suppress(FileNotFoundError):
            result = _read_manifest(key, local.read_bytes())
            if result is not None:
                os.utime(local)  # the least recently used entry goes first
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
            for name, about in result.files.items():
                self._share_file(folder / name, about)
        except FileNotFoundError as error:
            raise damaged(result) from error
        with self._scratch_folder() as scratch:
            manifest = scratch / MANIFEST
            manifest.write_text(json.dumps(asdict(result)))
            with suppress(PreconditionFailed):
                self._files.upload(manifest, self._manifest_path(result.key), condition=IfAbsent(), immutable=True)
        self._mark_shared(result.key)

    def _share_file(self, source: Path, about: dict[str, Any]) -> None:
        path = self._blob_path(about)
        if about["size_bytes"] <= SMALL_BYTES:
            with suppress(PreconditionFailed):
                self._files.upload(source, path, condition=IfAbsent(), immutable=True)
                return
        stored = self._files.stat(path)
        if stored is None or stored.size_bytes != about["size_bytes"]:
            self._files.upload(source, path, immutable=True)

    def is_shared(self, key: str) -> bool:
        """Whether every worker can have the result."""
        return (self._entry(key) / SHARED).exists() or self._files.stat(self._manifest_path(key)) is not None

    def _mark_shared(self, key: str) -> None:
        with suppress(FileNotFoundError):  # evicted meanwhile
            (self._entry(key) / SHARED).touch()

    def _entry(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _manifest_path(self, key: str) -> str:
        return f"{self._bucket}/stages/{key}.json"

    def _blob_path(self, about: dict[str, Any]) -> str:
        return f"{self._bucket}/blobs/{about['sha256']}"

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
                self._files.download(self._blob_path(about), target, max_bytes=about["size_bytes"])
                if file_digest(target) != about["sha256"]:
                    raise damaged(result)
        except (NotFound, PayloadTooLarge) as error:
            logger.warning("a cached result is damaged, its stage will run again: %s", result.key)
            self._files.delete(self._manifest_path(result.key))
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
    """None where the data is no manifest of this key, or names files outside of its entry."""
    try:
        result = StageResult(**json.loads(data))
        paths = [PurePosixPath(name) for name in result.files]
        whole = all({"sha256", "size_bytes"} <= about.keys() for about in result.files.values())
    except (ValueError, TypeError, AttributeError):
        return None
    inside = not any(path.is_absolute() or ".." in path.parts for path in paths)
    return result if result.key == key and whole and inside else None
