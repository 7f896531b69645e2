"""An object as an event or a listing names it, as the store tells of it, and what has become of it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # most events of a bucket are none of ours, and need none of it
    from shared.documents import Task
    from shared.files import FileInfo
    from shared.texts import Text


@dataclass(frozen=True)
class StoredObject:
    """Only `bucket` and `key` are trusted. The rest is a hint: `take` asks the store."""

    bucket: str
    key: str  # decoded
    version: str | None = None  # the store's version id or generation; None for unversioned ("null" is None)
    etag: str | None = None  # without quotes, lower case
    size_bytes: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)  # names in lower case, without the maker's prefix
    provider: str = "minio"  # minio, s3, gcs, obs, oss, cos or local
    bare: bool = False  # a listing that was made after the upload shows no sidecar beside it
    done: tuple[str, ...] = ()  # the rules that have dealt with it, or leave it alone
    patient: bool = False  # nobody waits for it: its header has more time, and then it is taken without

    @property
    def path(self) -> str:
        return f"{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Upload:
    """A model as the store tells of it, with its sidecar."""

    model: FileInfo
    sidecar: FileInfo | None

    @property
    def bucket(self) -> str:
        return self.model.path.partition("/")[0]

    @property
    def key(self) -> str:
        return self.model.path.partition("/")[2]


@dataclass(frozen=True)
class Taken:
    """What has become of an object by one rule. `later`: nothing was started, and it may be another time, although
    nothing is uploaded meanwhile; the sweep looks again."""

    object: StoredObject
    task_ids: tuple[str, ...] = ()  # created now, or found as created earlier for the same version
    new: tuple[Task, ...] = ()  # those that were created now
    ignored: Text | None = None  # why nothing was started
    later: bool = False

    @property
    def is_new(self) -> bool:
        return bool(self.new)
