"""One upload to S3: a single request, or parts that become one object at the end."""
from __future__ import annotations

import hashlib
from contextlib import suppress
from io import BufferedReader
from xml.etree import ElementTree

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from shared.files import Condition, IfMatch
from shared.files.minio_http import S3Connection

PART_BYTES = 64 << 20
MAX_PARTS = 10_000  # of S3
NAMESPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}


class Upload:
    """Sends a file; `send` may be called again after a failure, and then goes on with the first part that is missing.

    A condition goes with the request that makes the object visible, so the server checks it at that moment. What has
    arrived without becoming an object is removed when the block ends.
    """

    def __init__(self, s3: S3Connection, bucket: str, key: str, file: BufferedReader, size_bytes: int,
                 condition: Condition, metadata: dict[str, str]) -> None:
        self._s3, self._bucket, self._key = s3, bucket, key
        self._file, self._size_bytes = file, size_bytes
        self._part_bytes = max(PART_BYTES, -(-size_bytes // MAX_PARTS))
        self._metadata = metadata
        self._etags: list[str] = []
        self._upload_id = ""
        self._condition: dict[str, str] = {}
        if condition is not None:
            self._condition = ({"If-Match": f'"{condition.etag}"'} if isinstance(condition, IfMatch)
                               else {"If-None-Match": "*"})

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        if self._upload_id:
            with suppress(HTTPError, MinioException):  # out of reach: the server removes it itself after a day
                self._s3.send("DELETE", self._bucket, self._key, query={"uploadId": self._upload_id})

    def send(self) -> str:
        """The new object's etag.

        Raises:
            S3Error: the server refused; code `PreconditionFailed` where the condition did not hold.
            urllib3.exceptions.HTTPError: the connection failed; the object may have been stored nevertheless.
        """
        try:
            if self._size_bytes <= PART_BYTES:
                return self._put(0, self._size_bytes, self._condition | self._metadata, {})
            self._send_parts()
            return self._join_parts()
        except S3Error as error:
            # A condition on an object that is gone is a condition that does not hold.
            if error.code == "NoSuchKey" and self._condition:
                raise error.copy("PreconditionFailed", "no such object") from error
            raise

    def own_etag(self) -> str:
        """What a server that does not encrypt calls this content: its MD5, or the MD5 of its parts' MD5s."""
        if self._size_bytes > PART_BYTES:
            joined = b"".join(bytes.fromhex(etag) for etag in self._etags)
            return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(self._etags)}"
        self._file.seek(0)
        return hashlib.file_digest(self._file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def _send_parts(self) -> None:
        if not self._upload_id:
            answer = self._s3.send("POST", self._bucket, self._key, query={"uploads": ""}, headers=self._metadata)
            self._upload_id = _text(answer.data, "UploadId")
            self._etags.clear()
        for start in range(len(self._etags) * self._part_bytes, self._size_bytes, self._part_bytes):
            query = {"uploadId": self._upload_id, "partNumber": str(len(self._etags) + 1)}
            self._etags.append(self._put(start, min(self._part_bytes, self._size_bytes - start), {}, query))

    def _join_parts(self) -> str:
        root = ElementTree.Element("CompleteMultipartUpload")
        for number, etag in enumerate(self._etags, start=1):
            part = ElementTree.SubElement(root, "Part")
            ElementTree.SubElement(part, "PartNumber").text = str(number)
            ElementTree.SubElement(part, "ETag").text = f'"{etag}"'
        answer = self._s3.send("POST", self._bucket, self._key, query={"uploadId": self._upload_id},
                               headers=self._condition, body=ElementTree.tostring(root))
        self._upload_id = ""
        return _text(answer.data, "ETag").strip('"')

    def _put(self, start: int, size_bytes: int, headers: dict[str, str], query: dict[str, str]) -> str:
        headers = headers | {"Content-Length": str(size_bytes), "Content-Type": "application/octet-stream"}
        answer = self._s3.send("PUT", self._bucket, self._key, query=query, headers=headers,
                               body=_Section(self._file, start, size_bytes))
        return answer.headers["etag"].strip('"')


class _Section:
    """A part of a file, read as the connection takes it."""

    def __init__(self, file: BufferedReader, start: int, size_bytes: int) -> None:
        self._file = file
        self._left = size_bytes
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        chunk = self._file.read(wanted)
        if len(chunk) < wanted:
            raise OSError("the file became shorter while it was sent")
        self._left -= len(chunk)
        return chunk


def _text(xml: bytes, name: str) -> str:
    return ElementTree.fromstring(xml).findtext(f"s3:{name}", "", NAMESPACE)
