"""One download from S3, which may be broken off and goes on where it stopped."""
from __future__ import annotations

from typing import Any

from minio.error import S3Error
from urllib3.response import BaseHTTPResponse

from shared.errors import PreconditionFailed, Unavailable
from shared.files.minio_http import S3Connection
from shared.files.transfer import CHUNK_BYTES, Arriving, check_size

CHANGES = 3  # of the object while it is read, before the download is given up


class Download:
    """`receive` may be called again after a failure. All that arrives is of one version of the object: the one with
    the `wanted` etag, or the one that the first answer brings."""

    def __init__(self, s3: S3Connection, path: str, wanted: str | None, max_bytes: int, arriving: Arriving) -> None:
        self._s3, self._path, self._max_bytes, self._arriving = s3, path, max_bytes, arriving
        self._wanted, self._changes = wanted, 0
        self.etag = wanted
        self.size_bytes: int | None = None

    @property
    def is_whole(self) -> bool:
        return self._arriving.size_bytes == self.size_bytes

    def receive(self) -> None:
        """Take what is missing. The download may be not whole after that: it has begun again.

        Raises:
            S3Error: the server refused.
            urllib3.exceptions.HTTPError: the connection failed; what has come is kept.
            PreconditionFailed: the object has another etag than the wanted one.
            PayloadTooLarge: it is larger than allowed.
            Unavailable: it changed again and again.
        """
        start = self._arriving.size_bytes
        headers: dict[str, Any] = {"If-Match": f'"{self.etag}"'} if self.etag else {}
        if start:
            headers["Range"] = f"bytes={start}-"
        bucket, _, key = self._path.partition("/")
        try:
            response = self._s3.streams.get_object(bucket, key, request_headers=headers)
        except S3Error as error:
            if error.code not in ("PreconditionFailed", "InvalidRange"):
                raise
            return self._begin_again()
        try:
            self._take(response, start)
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return None

    def _take(self, response: BaseHTTPResponse, start: int) -> None:
        etag = response.headers["etag"].strip('"')
        is_part = response.status == 206
        if self.etag not in (None, etag):  # the server knows no If-Match
            self._begin_again()
            if is_part:
                return response.close()
        elif start and not is_part:  # it knows no ranges
            self._arriving.begin_again()
        self.etag = etag
        size = response.headers["content-range"].rpartition("/")[2] if is_part else response.headers["content-length"]
        self.size_bytes = int(size)
        check_size(self._path, self.size_bytes, self._max_bytes)
        while chunk := response.read1(CHUNK_BYTES, decode_content=False):
            self._arriving.add(chunk)
        return None

    def _begin_again(self) -> None:
        self._changes += 1
        if self._wanted is not None:
            raise PreconditionFailed(self._path)
        if self._changes > CHANGES:
            raise Unavailable("files", "changed while it was read")
        self._arriving.begin_again()
        self.etag = self.size_bytes = None
