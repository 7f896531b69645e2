"""The HTTP client for an S3 server: bounded small requests, streamed large ones."""
from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import minio.time
import urllib3
from minio import Minio
from minio.credentials import Credentials, StaticProvider
from minio.error import InvalidResponseError, S3Error, ServerError
from minio.signer import sign_v4_s3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from shared.errors import AppError
from shared.files.minio_quick import QuickReads
from shared.files.transfer import CHUNK_BYTES
from shared.tls import NO_FILES, Tls

PAUSES_S = (0.1, 0.4)  # before the second and the third attempt
LONG_PAUSES_S = (0.1, 0.4, 1.6, 5.0, 10.0)  # of a transfer that would lose what it has
IDLE_TIMEOUT = urllib3.Timeout(connect=10, read=60)  # of a transfer: the longest time without a byte
CONNECTIONS = 32
UNSIGNED = "UNSIGNED-PAYLOAD"  # as S3 calls a body whose hash is not a part of the signature


class Readable(Protocol):
    """What a request's body is read from."""

    def read(self, size: int = -1, /) -> bytes: ...


class Clients(NamedTuple):
    """`small` repeats requests within the time limit; `streams` waits as long as bytes come, and repeats nothing."""

    small: Minio
    streams: Minio
    pools: tuple[BoundedPool, urllib3.PoolManager]
    quick: QuickReads | None  # over plain HTTP


class S3Connection:
    """Clients of one server, made on first use and never shared with a forked child.

    `url` is `minio://KEY:SECRET@HOST:PORT` (http), `minios://…` or `s3://…` (https), with `?region=` where it is not
    us-east-1. `tls` is for https.
    """

    def __init__(self, url: str, timeout_s: float, tls: Tls = NO_FILES) -> None:
        parts = urlsplit(url)
        if not (parts.hostname and parts.username and parts.password):
            raise AppError("文件存储地址不完整", "the files URL is incomplete: minio://KEY:SECRET@HOST:PORT")
        self._options: dict[str, Any] = {
            "endpoint": parts.netloc.rpartition("@")[2], "access_key": unquote(parts.username),
            "secret_key": unquote(parts.password), "secure": parts.scheme != "minio",
            "region": parse_qs(parts.query).get("region", ["us-east-1"])[0]}
        self._timeout_s, self._tls = timeout_s, tls
        self._made: tuple[int, Clients] | None = None

    def _clients(self) -> Clients:
        made = self._made
        # Two processes on one socket would read each other's answers. (Two threads here at once make one set too many.)
        if made is None or made[0] != os.getpid():
            secure: dict[str, Any] = {"ssl_context": self._tls.make_context()} if self._options["secure"] else {}
            small = BoundedPool(self._timeout_s, **secure)
            streams = urllib3.PoolManager(timeout=IDLE_TIMEOUT, retries=False, maxsize=CONNECTIONS,
                                          blocksize=CHUNK_BYTES, **secure)
            made = self._made = (os.getpid(), Clients(Minio(**self._options, http_client=small),
                                                      Minio(**self._options, http_client=streams), (small, streams),
                                                      self._quick()))
        return made[1]

    def _quick(self) -> QuickReads | None:
        options = self._options
        return None if options["secure"] else QuickReads(options["endpoint"], self._credentials(), options["region"])

    def _credentials(self) -> Credentials:
        return StaticProvider(self._options["access_key"], self._options["secret_key"]).retrieve()

    def read_quickly(self, bucket: str, key: str, length: int) -> tuple[Mapping[str, str], bytes] | None:
        """The headers, with names in lower case, and the object's first bytes; None: ask in the general way, for which
        half of the timeout is left at least, unless the server drips. Inside `one_limit` this was an attempt of it."""
        _, _, pools, quick = self._clients()
        if quick is None:
            return None
        read = quick.get(bucket, key, length, self._timeout_s / 2)
        if read is None:
            pools[0].count_attempt()
        return read

    @property
    def region(self) -> str:
        return str(self._options["region"])

    @property
    def small(self) -> Minio:
        """For requests that carry no content: each ends within the timeout, repeated attempts included."""
        return self._clients().small

    @property
    def streams(self) -> Minio:
        """For content: no limit in all, one for silence."""
        return self._clients().streams

    def signer(self, public_url: str) -> Minio:
        """Signs URLs for clients, who reach the server at `public_url`, or at the address that is used here if that is
        empty. It connects to nobody."""
        if not public_url:
            return self.streams
        public = urlsplit(public_url)
        return Minio(**self._options | {"endpoint": public.netloc, "secure": public.scheme == "https"},
                     http_client=self._clients().pools[1])

    def one_limit(self) -> AbstractContextManager[None]:
        """The small requests inside end within the timeout together."""
        return self._clients().pools[0].one_limit()

    def send(self, method: str, bucket: str, key: str, *, query: Mapping[str, str] | None = None,
             headers: Mapping[str, str] | None = None, body: Readable | bytes | None = None,
             small: bool = False) -> BaseHTTPResponse:
        """A request that minio-py has no call for: with conditions, with a body that is not held in memory, or, if
        `small`, whose whole answer comes within the timeout.

        Raises:
            S3Error: the server refused.
            ServerError: it failed, without saying how.
        """
        _, streams, pools, _ = self._clients()
        pool = pools[0] if small else pools[1]
        url = streams.get_presigned_url(method, bucket, key, expires=timedelta(minutes=15),
                                        extra_query_params=dict(query or {}))
        sent = dict(headers or {})
        if any(name.startswith("x-amz-") for name in sent):
            url, sent = self._sign_headers(method, url, sent)
        response = pool.urlopen(method, url, body=body, headers=sent, redirect=False)
        # A multipart upload that fails while it is put together answers 200, and the error.
        if response.status >= 300 or b"<Error>" in response.data[:200]:
            if response.headers.get("content-type", "").startswith("application/xml"):
                raise S3Error.fromxml(response)
            raise ServerError(f"HTTP status {response.status}", response.status)
        return response

    def _sign_headers(self, method: str, url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """The request with its signature in a header instead of in the URL, where minio-py signs no headers: S3 takes
        metadata only if they are signed.

        Source: Amazon S3, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
        """
        parts, now = urlsplit(url), minio.time.utcnow()
        query = "&".join(pair for pair in parts.query.split("&") if not pair.startswith("X-Amz-"))
        parts = parts._replace(query=query)
        signed: dict[str, Any] = {name: value for name, value in headers.items() if name.startswith("x-amz-")} | {
            "Host": parts.netloc, "x-amz-content-sha256": UNSIGNED, "x-amz-date": minio.time.to_amz_date(now)}
        sign_v4_s3(method=method, url=parts, region=self._options["region"], headers=signed,
                   credentials=self._credentials(), content_sha256=UNSIGNED, date=now)  # it adds `Authorization`
        return urlunsplit(parts), headers | signed

    def close(self) -> None:
        made, self._made = self._made, None
        if made and made[0] == os.getpid():
            for pool in made[1].pools:
                pool.clear()
            if made[1].quick:
                made[1].quick.close()


class BoundedPool(urllib3.PoolManager):
    """Repeats a request that failed at once, as long as there is time; each request ends within `total_s`. Nothing
    above it repeats these requests again."""

    def __init__(self, total_s: float, **options: Any) -> None:
        super().__init__(retries=False, maxsize=CONNECTIONS, **options)
        self._total_s = total_s
        self._shared = threading.local()

    @contextmanager
    def one_limit(self) -> Iterator[None]:
        """The requests that this thread makes inside end within `total_s` together."""
        self._shared.deadline, self._shared.attempts = time.monotonic() + self._total_s, 0
        try:
            yield
        finally:
            del self._shared.deadline, self._shared.attempts

    def count_attempt(self) -> None:
        """The next request of this thread has been tried elsewhere already."""
        if hasattr(self._shared, "attempts"):
            self._shared.attempts += 1

    def urlopen(self, method: str, url: str, *arguments: Any, **options: Any) -> BaseHTTPResponse:
        deadline = getattr(self._shared, "deadline", time.monotonic() + self._total_s)
        options["redirect"] = False
        for pause_s in (*PAUSES_S[getattr(self._shared, "attempts", 0):], math.inf):
            last = time.monotonic() + pause_s >= deadline
            options["timeout"] = urllib3.Timeout(total=max(deadline - time.monotonic(), 0.001))
            try:
                response = super().urlopen(method, url, *arguments, **options)
                if response.status < 500 or last:
                    return response
                response.drain_conn()
            except HTTPError as error:
                if last or not is_passing(error):
                    raise
            time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


def is_passing(error: Exception) -> bool:
    """Whether another attempt may do better: not after a silence, which has used up the time already."""
    if isinstance(error, HTTPError):
        return not isinstance(error, (ReadTimeoutError, ConnectTimeoutError))
    if isinstance(error, S3Error):
        return error.response.status >= 500
    return isinstance(error, (ServerError, InvalidResponseError))


class Attempts:
    """Of one transfer. Those that bring it further do not count."""

    def __init__(self) -> None:
        self._done = self._in_vain = 0
        self.is_first = True

    def failed(self, error: Exception, done: int) -> None:
        """Wait before the next attempt, or raise the error if there is to be none. `done` is how far the transfer has
        come, and 0 where it has to begin again."""
        self.is_first = False
        further, self._done = done > self._done, max(done, self._done)
        if further:
            self._in_vain = 0
        if not (is_passing(error) or (further and isinstance(error, HTTPError))):
            raise error
        pauses_s = LONG_PAUSES_S if done else PAUSES_S
        if self._in_vain >= len(pauses_s):
            raise error
        time.sleep(pauses_s[self._in_vain])
        self._in_vain += 1
