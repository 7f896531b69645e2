"""Stage results by the hash of everything that went into them: on this machine, and in the object store for all.

Object store:  <cache bucket>/blobs/<sha256>          file contents, each once
               <cache bucket>/stages/<key>.json       the manifest, written last and only if absent
This machine:  <cache dir>/<key[:2]>/<key>/           files and manifest.json, moved into place whole

So a half-written entry does not exist, an entry never changes, and equal files of different results are stored once.
"""
from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import NotFound, PreconditionFailed
from shared.files import Files, IfAbsent

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"


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
        shutil.copyfile(source, target)


class StageCache:
    """Safe for several threads and for several workers on one folder."""

    def __init__(self, folder: Path, limit_bytes: int, files: Files, bucket: str) -> None:
        self._folder, self._limit_bytes, self._files, self._bucket = folder, limit_bytes, files, bucket
        self._scratch = folder / "tmp"
        self._scratch.mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> StageResult | None:
        """The result with this key, from here or from the object store. Only the manifest is read."""
        local = self._entry(key) / MANIFEST
        try:
            data = local.read_bytes()
            os.utime(local)  # the least recently used entry goes first
        except FileNotFoundError:
            data = self._download_manifest(key)
        return None if data is None else StageResult(**json.loads(data))

    def place(self, result: StageResult, target: Path) -> None:
        """Put the result's files below `target`, read-only; from here, or from the object store.

        Raises:
            NotFound: the entry is gone.
        """
        entry = self._entry(result.key)
        if not (entry / MANIFEST).exists():
            self._download(result)
        for name in result.files:
            try:
                link_or_copy(entry / name, target / name)
            except FileNotFoundError:  # evicted just now
                self._download(result)
                link_or_copy(entry / name, target / name)
        target.mkdir(parents=True, exist_ok=True)

    def keep(self, result: StageResult, folder: Path) -> None:
        """Take over `folder`, which holds exactly the result's files, as the local entry."""
        for name in result.files:
            (folder / name).chmod(0o444)
        (folder / MANIFEST).write_text(json.dumps(asdict(result)))
        entry = self._entry(result.key)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(folder, entry)
        except OSError:
            if not (entry / MANIFEST).exists():
                raise
            shutil.rmtree(folder, ignore_errors=True)  # another worker was first with the same key
        self._evict()

    def share(self, result: StageResult) -> None:
        """Store the local entry for all workers; nothing happens where it is already there."""
        entry = self._entry(result.key)
        with self._scratch_folder() as scratch:
            for number, (name, about) in enumerate(result.files.items()):
                blob = f"{self._bucket}/blobs/{about['sha256']}"
                if self._files.stat(blob) is None:
                    held = scratch / str(number)
                    link_or_copy(entry / name, held)
                    self._files.upload(held, blob)
            manifest = scratch / MANIFEST
            manifest.write_text(json.dumps(asdict(result)))
            with suppress(PreconditionFailed):
                self._files.upload(manifest, self._manifest_path(result.key), condition=IfAbsent())

    def _entry(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _manifest_path(self, key: str) -> str:
        return f"{self._bucket}/stages/{key}.json"

    def _scratch_folder(self) -> _Scratch:
        return _Scratch(self._scratch / uuid.uuid4().hex)

    def _download_manifest(self, key: str) -> bytes | None:
        with self._scratch_folder() as scratch:
            try:
                self._files.download(self._manifest_path(key), scratch / MANIFEST, max_bytes=64 << 20)
            except NotFound:
                return None
            return (scratch / MANIFEST).read_bytes()

    def _download(self, result: StageResult) -> None:
        with self._scratch_folder() as scratch:
            for name, about in result.files.items():
                target = scratch / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.download(f"{self._bucket}/blobs/{about['sha256']}", target, max_bytes=about["size_bytes"])
                if file_digest(target) != about["sha256"]:
                    raise NotFound(f"缓存已损坏: {result.key}", f"a cached file is damaged: {result.key}")
            self.keep(result, scratch)

    def _evict(self) -> None:
        """Remove the entries that were not used for longest, until the rest fits. One worker at a time looks."""
        with (self._folder / ".evict.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            entries = []
            for manifest in self._folder.glob(f"??/*/{MANIFEST}"):
                with suppress(FileNotFoundError, ValueError, KeyError):
                    files = json.loads(manifest.read_bytes())["files"]
                    entries.append((manifest.stat().st_mtime, sum(f["size_bytes"] for f in files.values()), manifest))
            total = sum(size for _, size, _ in entries)
            for _, size, manifest in sorted(entries):
                if total <= self._limit_bytes:
                    return
                doomed = self._scratch / uuid.uuid4().hex
                with suppress(FileNotFoundError):
                    os.rename(manifest.parent, doomed)
                    shutil.rmtree(doomed, ignore_errors=True)
                total -= size


class _Scratch:
    """A new folder on the cache's own file system; gone at the end unless it was moved away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        self._folder.mkdir()
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
