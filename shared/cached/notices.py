"""Notices in the cache bucket: which results of stages are gone, and which are to go.

Workers keep copies of results, and remember which of them the object store has. A notice of kind `removed` tells them
that it has these no longer. One of kind `purge` also says that a client wants them gone: the next worker removes them,
and every worker its own copies. A notice is kept for `LIFE_S`. A worker that was away for longer trusts nothing that it
remembers.
"""
from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import NotFound
from shared.files import Condition, FileInfo, Files

LIFE_S = 86400.0
LIMIT_BYTES = 8 << 20

Kind = Literal["removed", "purge"]


@dataclass(frozen=True)
class Notice:
    """`written_at` is by the object store's clock. `tasks` are those whose deletion asked for a purge, `blobs` the
    digests of files that go with results that a client wanted gone."""

    id: str
    written_at: float
    kind: Kind
    keys: frozenset[str]
    tasks: frozenset[str] = frozenset()
    blobs: frozenset[str] = frozenset()


def write_notice(files: Files, bucket: str, kind: Kind, keys: Iterable[str], tasks: Iterable[str] = (),
                 blobs: Iterable[str] = ()) -> None:
    """Raises Unavailable."""
    content = {"kind": kind, "keys": sorted(keys), "tasks": sorted(tasks), "blobs": sorted(blobs)}
    put_json(files, f"{_folder(bucket)}{uuid.uuid4().hex}.json", content)


def put_json(files: Files, path: str, content: object, condition: Condition = None) -> None:
    """Raises Unavailable, PreconditionFailed."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "content"
        source.write_text(json.dumps(content))
        files.upload(source, path, condition=condition)


def find_notices(files: Files, bucket: str) -> Iterator[FileInfo]:
    """Raises Unavailable."""
    return files.find(_folder(bucket))


def read_notice(files: Files, info: FileInfo) -> Notice | None:
    """None where it is gone by now, or is no notice of this version.

    Raises:
        Unavailable.
    """
    try:
        _, data = files.read_range(info.path, 0, LIMIT_BYTES)
        told = json.loads(data)
        if told["kind"] not in ("removed", "purge"):
            return None
        return Notice(info.path, info.modified_at or 0.0, told["kind"], frozenset(map(str, told["keys"])),
                      frozenset(map(str, told["tasks"])), frozenset(map(str, told["blobs"])))
    except (NotFound, ValueError, TypeError, KeyError):
        return None


def _folder(bucket: str) -> str:
    return f"{bucket}/notices/"
