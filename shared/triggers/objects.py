"""An object as an event or a listing names it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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

    @property
    def path(self) -> str:
        return f"{self.bucket}/{self.key}"
