"""Stage results by the hash of everything that went into them: on this machine, and in the object store for all.

Object store:  <cache bucket>/blobs/<sha256>          file contents, each once
               <cache bucket>/stages/<key>.json       the manifest, written last and only if absent
This machine:  <cache dir>/<key[:2]>/<key>/files/     the files; manifest.json beside it; moved into place whole;
                                                      an empty file `shared` once the object store has it too

So a half-written entry does not exist, an entry never changes, and equal files of different results are stored once.
An entry that is damaged all the same (a file lost, cut or written to) is removed by whoever finds it: its stage runs
again.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from shared.errors import NotFound, PayloadTooLarge, PreconditionFailed
from shared.files import SMALL_BYTES, Files, IfAbsent

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FILES = "files"
SHARED = "shared"
MANIFEST_LIMIT_BYTES = 64 << 20
SEAL_NS = 10**18  # every kept file's time of change: whoever writes to it, through whichever link, breaks the seal
SCRATCH_LIFE_S = 86400.0  # what a killed worker left in the middle of a download goes after that


def canonical_digest(value: Any) -> str:
    """SHA-256 of the canonical JSON (sorted keys, no spaces) of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False,
                                     allow_nan=False).encode()).hexdigest()


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class StageResult:
    """A finished stage. `files` maps relative names to {"sha256", "size_bytes"}; `facts` is plain JSON.

    `output_digest` covers files and facts only: what later stages depend on, not how long it took.
    """

    key: str
    stage: str
    files: dict[str, dict[str, Any]]
    facts: dict[str, Any]
    seconds: float
    peak_memory_bytes: int | None = None
    tools: dict[str, str] = field(default_factory=dict)

    @property
    def output_digest(self) -> str:
        return canonical_digest({"files": {name: f["sha256"] for name, f in self.files.items()}, "facts": self.facts})


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """`{relative name: {"sha256", "size_bytes"}}` of every regular file below `folder`."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): {"sha256": file_digest(path), "size_bytes": path.stat().st_size}
            for path in found}


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system allows it: the content then outlives the eviction of its cache entry."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)  # with the seal


def _copy(source: Path, target: Path) -> None:
    """For a model's external data: onnx 1.21 and later refuse a data file that has a second hard link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def place_files(result: StageResult, source: Path, target: Path) -> None:
    """Put the result's files, which lie below `source`, below `target`, read-only.

    Raises:
        NotFound: one is missing, cut, or was written to.
    """
    target.mkdir(parents=True, exist_ok=True)
    has_model = any(name.endswith(".onnx") for name in result.files)
    for name, about in result.files.items():
        try:
            status = os.stat(source / name)
            if (status.st_size, status.st_mtime_ns) != (about["size_bytes"], SEAL_NS):
                raise _damaged(result)
            if has_model and not name.endswith(".onnx"):
                _copy(source / name, target / name)
            else:
                link_or_copy(source / name, target / name)
        except FileNotFoundError as error:
            raise _damaged(result) from error


def seal(result: StageResult, folder: Path) -> None:
    """Make the result's files below `folder` read-only, and any later change of them visible."""
    for name in result.files:
        (folder / name).chmod(0o444)
        os.utime(folder / name, ns=(SEAL_NS, SEAL_NS))


def _damaged(result: StageResult) -> NotFound:
    return NotFound(f"缓存已损坏: {result.key}", f"a cached result is damaged: {result.key}")


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
                self.keep(result, scratch)
                self._mark_shared(result.key)

    def keep(self, result: StageResult, folder: Path) -> None:
        """Take the files below `folder` into the local entry; they stay where they are too."""
        entry = self._entry(result.key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        with self._scratch_folder() as scratch:
            (scratch / FILES).mkdir()
            for name in result.files:
                link_or_copy(folder / name, scratch / FILES / name)
            seal(result, scratch / FILES)
            (scratch / MANIFEST).write_text(json.dumps(asdict(result)))
            with suppress(OSError):  # another worker was first with the same key
                os.rename(scratch, entry)
        self._evict(sum(about["size_bytes"] for about in result.files.values()))

    def share(self, result: StageResult, folder: Path) -> None:
        """Store the result, whose files lie below `folder`, for all workers; what is there already is not sent."""
        for name, about in result.files.items():
            self._share_file(folder / name, about)
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
                    raise _damaged(result)
        except (NotFound, PayloadTooLarge) as error:
            log.warning("a cached result is damaged, its stage will run again: %s", result.key)
            self._files.delete(self._manifest_path(result.key))
            if not isinstance(error, NotFound) or (folder / name).exists():
                self._files.delete(self._blob_path(about))
            raise _damaged(result) from error

    def _remove(self, key: str) -> None:
        """Remove the local entry: out of sight at once, then its files."""
        with self._scratch_folder() as scratch, suppress(FileNotFoundError):
            os.rename(self._entry(key), scratch / "removed")

    def _evict(self, added_bytes: int) -> None:
        """Remove the entries that were not used for longest, until the rest fits. One worker at a time looks, and not
        before the cache may have grown by a twentieth of its limit."""
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
                self._remove(key)
                total -= size
            for left in self._scratch.iterdir():
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < time.time() - SCRATCH_LIFE_S:
                        shutil.rmtree(left, ignore_errors=True)


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
