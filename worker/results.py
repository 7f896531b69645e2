"""A finished stage and its files: described, sealed against later writes, placed where another stage reads them."""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.digests import canonical_digest, file_digest
from shared.errors import NotFound
from shared.files.transfer import copy_file

SEAL_NS = 10**18  # every kept file's time of change: whoever writes to it, through whichever link, breaks the seal


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


def describe_files(folder: Path, digests: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """`{relative name: {"sha256", "size_bytes"}}` of every regular file below `folder`. Files are not read whose
    `digests` are known."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    known = digests or {}
    return {name: {"sha256": known.get(name) or file_digest(path), "size_bytes": path.stat().st_size}
            for path in found for name in [path.relative_to(folder).as_posix()]}


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system allows it: the content then outlives the eviction of its cache entry."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        copy_file(source, target)  # with the seal


def _copy(source: Path, target: Path) -> None:
    """For a model's external data: onnx 1.21 and later refuse a data file that has a second hard link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    copy_file(source, target)


def check_files(result: StageResult, folder: Path) -> None:
    """Look whether the result's files lie below `folder` as they were sealed.

    Raises:
        NotFound: one is missing, cut, or was written to.
    """
    for name, about in result.files.items():
        try:
            status = os.stat(folder / name)
        except FileNotFoundError as error:
            raise damaged(result) from error
        if (status.st_size, status.st_mtime_ns) != (about["size_bytes"], SEAL_NS):
            raise damaged(result)


def place_files(result: StageResult, source: Path, target: Path) -> None:
    """Put the result's files, which lie below `source`, below `target`, read-only.

    Raises:
        NotFound: one is missing, cut, or was written to.
    """
    target.mkdir(parents=True, exist_ok=True)
    has_model = any(name.endswith(".onnx") for name in result.files)
    check_files(result, source)
    for name in result.files:
        put = _copy if has_model and not name.endswith(".onnx") else link_or_copy
        try:
            put(source / name, target / name)
        except FileNotFoundError as error:  # removed meanwhile
            raise damaged(result) from error


def seal(result: StageResult, folder: Path) -> None:
    """Make the result's files below `folder` read-only, and any later change of them visible."""
    for name in result.files:
        (folder / name).chmod(0o444)
        os.utime(folder / name, ns=(SEAL_NS, SEAL_NS))


def damaged(result: StageResult) -> NotFound:
    return NotFound(f"缓存已损坏: {result.key}", f"a cached result is damaged: {result.key}")
