"""Requests that a client may send to the object store itself: the protocol, and the choice of an adapter by URL scheme.

An object comes whole, by one request, or in parts: each part by a request of its own, which may be sent again, and all
of them become the object at the end.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from pydantic import SecretStr

from shared.adapters import Adapter, find_factory
from shared.tls import NO_FILES, Tls

MAX_PARTS = 1000  # of one upload: the answer names each of them


@dataclass(frozen=True)
class Part:
    """The bytes of an object from `start`. Numbers begin with 1."""

    number: int
    start: int
    size_bytes: int


@dataclass(frozen=True)
class Grant:
    """One request. The store takes it until `expires_at` (seconds since the epoch), with these headers, and a body of
    exactly the size that was granted. `url` is a path of the gateway where the adapter is `through_gateway`."""

    method: str
    url: str
    expires_at: float
    headers: dict[str, str] = field(default_factory=dict)


class Grants(Protocol):
    """Paths are `bucket/key`, already checked by `shared.files.paths`; the bucket is there.

    Every method but `whole` and `part` asks the store, and raises `Unavailable("files")` when it does not answer.
    Thread-safe.
    """

    through_gateway: bool

    def whole(self, path: str, size_bytes: int, expires_at: float) -> Grant: ...

    def begin(self, path: str, size_bytes: int) -> str:
        """Begin an object in parts; its id. Nothing is at the path before `join`."""

    def part(self, path: str, parts_id: str, part: Part, expires_at: float) -> Grant: ...

    def arrived(self, path: str, parts_id: str) -> dict[int, int] | None:
        """The sizes of the parts that have arrived whole, by number. None where nothing is known of this id (any more):
        the parts were joined, or nobody has sent one for a day."""

    def join(self, path: str, parts_id: str, parts: list[Part]) -> None:
        """Make the parts, which have all arrived, the object.

        Raises:
            NotFound: nothing is known of this id any more.
            Busy: a part is being sent just now.
        """

    def close(self) -> None: ...


ADAPTERS = {
    "file": Adapter("shared.files.local_grants:open_local"),
    "minio": Adapter("shared.files.minio_grants:open_minio", "pip install minio"),
    "minios": Adapter("shared.files.minio_grants:open_minio", "pip install minio"),
    "s3": Adapter("shared.files.minio_grants:open_minio", "pip install minio"),
}


def open_grants(url: str, timeout_s: float, public_url: str = "", secret: SecretStr | None = None,
                tls: Tls = NO_FILES) -> Grants:
    """Grants for the object store that the URL names. Clients reach it at `public_url`, if it is given; `secret` signs
    what the service takes itself.

    Raises:
        AppError: the scheme is unknown, or its driver is not installed.
    """
    return find_factory("files", ADAPTERS, url)(url, timeout_s, public_url, secret, tls)
