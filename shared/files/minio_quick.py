"""Many small reads from an S3 server over plain HTTP, at a fifth of what a general client costs.

A sweep looks at thousands of objects, and then the client's own work is most of the time. So connections are kept, and
nothing is repeated here. Where a read does not go as it mostly does, `get` answers None. The caller asks again in the
general way, which knows what to do.
"""
from __future__ import annotations

import hashlib
import http.client
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, quote

import minio.time
from minio.credentials import Credentials
from minio.signer import sign_v4_s3

IDLE = 32  # connections that are kept
EMPTY = hashlib.sha256(b"").hexdigest()


class QuickReads:
    """Of one server, in one process. Thread-safe."""

    def __init__(self, endpoint: str, credentials: Credentials, region: str) -> None:
        self._endpoint, self._credentials, self._region = endpoint, credentials, region
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=IDLE)

    def get(self, bucket: str, key: str, length: int, timeout_s: float) -> tuple[Mapping[str, str], bytes] | None:
        """The headers of the answer, and the object's first bytes, `length` or as many as there are; None where
        anything is out of the ordinary. No step of it waits longer than `timeout_s`."""
        path, reads = quote(f"/{bucket}/{key}", safe="/-._~"), f"bytes=0-{length - 1}"
        connection = self._open(timeout_s)
        try:
            connection.request("GET", path, headers=self._signed(path, reads))
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return None
        if answer.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        whole = answer.status == 206 and "etag" in answer.headers and "content-range" in answer.headers
        return ({name.lower(): value for name, value in answer.headers.items()}, content) if whole else None

    def _open(self, timeout_s: float) -> http.client.HTTPConnection:
        try:
            connection = self._idle.pop()
        except IndexError:
            return http.client.HTTPConnection(self._endpoint, timeout=timeout_s)
        connection.timeout = timeout_s  # for a connection that it makes anew
        if connection.sock:
            connection.sock.settimeout(timeout_s)
        return connection

    def _signed(self, path: str, reads: str) -> dict[str, str]:
        now = minio.time.utcnow()
        headers: dict[str, Any] = {"Host": self._endpoint, "Range": reads, "x-amz-content-sha256": EMPTY,
                                   "x-amz-date": minio.time.to_amz_date(now), "Accept-Encoding": "identity"}
        sign_v4_s3(method="GET", url=SplitResult("http", self._endpoint, path, "", ""), region=self._region,
                   headers=headers, credentials=self._credentials, content_sha256=EMPTY, date=now)
        return headers

    def close(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
