"""Models and artefacts as `bucket/object`: the protocol, and the choice of an adapter by URL scheme."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared.adapters import Adapter, find_factory
from shared.tls import NO_FILES, Tls

SMALL_BYTES = 1 << 20  # what is no larger is sooner sent, under a condition, than asked for and then sent


@dataclass(frozen=True)
class FileInfo:
    """A stored object. `etag` changes whenever the content does, and is opaque.

    `modified_at` is when the object was last written or touched, by the store's own clock: it is only to be compared
    with times of the same store. `stat`, `peek` and `find` tell it, the other methods may not. Only `stat` and `peek`
    tell the `mark`: what the object was uploaded with, None where nobody has marked this version of it. Only they tell
    the uploader's `metadata`, its names in lower case, and the `version` in a bucket that keeps versions. Local files
    have neither.
    Only `download` tells the `sha256`: of the content as it lies in the local file.
    """

    path: str
    size_bytes: int
    etag: str
    modified_at: float | None = field(default=None, compare=False)
    mark: str | None = field(default=None, compare=False)
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)
    version: str | None = field(default=None, compare=False)
    sha256: str | None = field(default=None, compare=False, kw_only=True)


@dataclass(frozen=True)
class IfMatch:
    """Write only over the object with this etag."""

    etag: str


@dataclass(frozen=True)
class IfAbsent:
    """Write only where there is no object."""


Condition = IfMatch | IfAbsent | None
Watch = Callable[[int], None]


class Files(Protocol):
    """Paths are `bucket/key`, already checked by `shared.files.paths`. Content is streamed, never held whole in memory.

    A transfer whose connection breaks goes on where it stopped. It ends in vain after some attempts that brought
    nothing further. `watch` hears how many bytes of the content have passed; what it raises ends the transfer.

    Every method raises `Unavailable("files")` when the store does not answer; thread-safe.
    """

    def stat(self, path: str) -> FileInfo | None: ...

    def download(self, path: str, target: Path, *, max_bytes: int, etag: str | None = None,
                 watch: Watch | None = None) -> FileInfo:
        """Write the object to the local file `target`, whole or not at all; zeros may become holes.

        With an `etag` it is the version that has it. Without one it is any: what was replaced meanwhile is begun again.

        Raises:
            NotFound: there is no such object.
            PreconditionFailed: it has another etag.
            PayloadTooLarge: it is larger than `max_bytes`; nothing is left behind.
        """

    def read_range(self, path: str, start: int, length: int) -> tuple[FileInfo, bytes]:
        """Bytes of the object from `start`, `length` (at least 1) or as many as there are, and what it was just then.

        For small parts: they are held in memory.

        Raises:
            NotFound: there is no such object.
        """

    def peek(self, path: str, length: int) -> tuple[FileInfo, bytes] | None:
        """What `stat` tells of the object, and its first bytes, `length` or as many as there are: of one version, and
        by one request where the store can. None where there is no such object."""

    def read_url(self, path: str, life_s: float, headers: Mapping[str, str], public_url: str = "") -> str | None:
        """A URL at which the store itself answers everybody's GET of the object for so long, with these of its answer's
        `headers`: Content-Type, Content-Disposition, Cache-Control. Clients reach the store at `public_url`, if it is
        given. None where a store has no such URLs. It asks nobody.
        """

    def upload(self, source: Path, path: str, *, condition: Condition = None, immutable: bool = False,
               mark: str | None = None, sha256: str | None = None, watch: Watch | None = None) -> FileInfo:
        """Store a local file; readers see the old object or the new one, never a part. The bucket is made if missing.

        With `sha256` the content is compared on its way, before anybody can see it.

        The `mark`, short and ASCII, belongs to this version of the object: it is there as soon as the object is, and
        whoever writes another content there leaves none of it.

        `immutable` promises that nobody writes to `source` any more, and that its content can be had again: an adapter
        may then store a link to it, and need not wait for the disk. Such an object has no mark.

        Raises:
            PreconditionFailed: `condition` did not hold at the moment of writing; nothing was written.
            Damaged: the content is not what `sha256` says; nothing was written.
        """

    def touch(self, path: str) -> bool:
        """Make the object's `modified_at` now, without sending its content; False where there is no such object. Its
        mark may get lost."""

    def tag(self, path: str, tags: Mapping[str, str]) -> None:
        """Give the object these tags beside those of other names. A store without tags does nothing. Characters that no
        tag may have become `_`, and a value is cut at 256.

        Raises:
            NotFound: there is no such object.
            StorageRefused: the store has no room for them, or does not let us.
        """

    def delete(self, path: str, *, seen: FileInfo | None = None) -> None:
        """Remove the object; none there is no error. With `seen`, what `stat` has told of it, only if it is the same
        still, mark and all: S3 takes two requests for this, and loses what somebody writes between them.
        """

    def find(self, prefix: str) -> Iterator[FileInfo]:
        """Objects whose `bucket/key` starts with `prefix` (which names at least a bucket), by name.

        Raises:
            OutOfTime: the time of the work under way is over (`shared.deadlines`).
        """

    def ping(self) -> None: ...

    def close(self) -> None: ...


ADAPTERS = {
    "file": Adapter("shared.files.local:open_local"),
    "minio": Adapter("shared.files.minio:open_minio", "pip install minio"),
    "minios": Adapter("shared.files.minio:open_minio", "pip install minio"),
    "s3": Adapter("shared.files.minio:open_minio", "pip install minio"),
}


def open_files(url: str, timeout_s: float, tls: Tls = NO_FILES) -> Files:
    """The object store that the URL names; nothing is connected before the first call that needs it.

    Raises:
        AppError: the scheme is unknown, or its driver is not installed.
    """
    return find_factory("files", ADAPTERS, url)(url, timeout_s, tls)
