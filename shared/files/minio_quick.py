"""Many small reads from an S3 server over plain HTTP, at a fifth of what a general client costs.

A sweep looks at thousands of objects, and then the client's own work is most of the time. So connections are kept, the
day's signing key too, and nothing is repeated here: where a read does not go as it mostly does, `get` answers None, and
the caller asks again in the general way, which knows what to do.
"""
from __future__ import annotations

import hashlib
import hmac
import http.client
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote

IDLE = 32  # connections that are kept
EMPTY = hashlib.sha256(b"").hexdigest()
SIGNED = "host;range;x-amz-content-sha256;x-amz-date"


class QuickReads:
    """Of one server, in one process. Thread-safe."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, region: str) -> None:
        self._endpoint, self._access_key, self._secret_key, self._region = endpoint, access_key, secret_key, region
        self._idle: deque[http.client.HTTPConnection] = deque(maxlen=IDLE)
        self._key = "", b""  # the day, and its signing key

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
        """Source: Amazon S3, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)"."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        day = now[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        request = (f"GET\n{path}\n\nhost:{self._endpoint}\nrange:{reads}\nx-amz-content-sha256:{EMPTY}\n"
                   f"x-amz-date:{now}\n\n{SIGNED}\n{EMPTY}")
        told = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.new(self._key_of(day), told.encode(), hashlib.sha256).hexdigest()
        return {"Host": self._endpoint, "Range": reads, "x-amz-content-sha256": EMPTY, "x-amz-date": now,
                "Accept-Encoding": "identity",
                "Authorization": f"AWS4-HMAC-SHA256 Credential={self._access_key}/{scope}, SignedHeaders={SIGNED}, "
                                 f"Signature={signature}"}

    def _key_of(self, day: str) -> bytes:
        known, key = self._key
        if known != day:
            key = f"AWS4{self._secret_key}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            self._key = day, key
        return key

    def close(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()
