"""One upload to S3: a single request, or parts that become one object at the end."""
from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from contextlib import suppress
from io import BufferedReader
from xml.etree import ElementTree

from minio.error import MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from shared.errors import Damaged
from shared.files import Condition, IfMatch, Watch
from shared.files.minio_http import S3Connection

PART_BYTES = 64 << 20
MAX_PARTS = 10_000  # of S3
ENCRYPTED = "x-amz-server-side-encryption"
OTHER_CONTENT = ("BadDigest", "XAmzContentChecksumMismatch")  # Amazon's word, and MinIO's
NAMESPACE = {"s3": "http://s3.amazonaws.com/doc/2006-03-01/"}


class Upload:
    """Sends a file; `send` may be called again after a failure, and then goes on with the first part that is missing.

    A condition goes with the request that makes the object visible, so the server checks it at that moment. What has
    arrived without becoming an object is removed when the block ends.

    The content is compared on its way. A file in one piece has its `sha256`, if that is known, with it: the server
    compares. Of a file in parts each part's MD5 is compared with the server's, where that one tells it (as its ETag),
    and the whole file's SHA-256 with the known one, before the parts become an object.
    """

    def __init__(self, s3: S3Connection, path: str, file: BufferedReader, condition: Condition,
                 metadata: dict[str, str], sha256: str | None, watch: Watch | None) -> None:
        self._s3, self._path, self._file = s3, path, file
        self._bucket, _, self._key = path.partition("/")
        self._size_bytes = os.fstat(file.fileno()).st_size
        self._part_bytes = max(PART_BYTES, -(-self._size_bytes // MAX_PARTS))
        self._metadata, self._sha256, self._watch = metadata, sha256, watch
        self._etags: list[str] = []
        self._digest = hashlib.sha256()  # of the parts that have arrived
        self._upload_id = ""
        self._condition: dict[str, str] = {}
        if condition is not None:
            self._condition = ({"If-Match": f'"{condition.etag}"'} if isinstance(condition, IfMatch)
                               else {"If-None-Match": "*"})

    @property
    def parts_sent(self) -> int:
        """How many parts have arrived."""
        return len(self._etags)

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
            ServerError: something arrived damaged.
            urllib3.exceptions.HTTPError: the connection failed; the object may have been stored nevertheless.
            Damaged: the file is not what its digest says.
        """
        try:
            if self._size_bytes <= PART_BYTES:
                return self._send_whole()
            self._send_parts()
            if self._sha256 and self._digest.hexdigest() != self._sha256:
                raise Damaged(self._path)
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

    def _send_whole(self) -> str:
        headers = self._condition | self._metadata
        if self._sha256:
            headers["x-amz-checksum-sha256"] = b64encode(bytes.fromhex(self._sha256)).decode()
        try:
            return self._put(_Section(self._file, 0, self._size_bytes, self._watch), headers, {})
        except S3Error as error:
            if error.code not in OTHER_CONTENT:
                raise
            self._file.seek(0)
            if hashlib.file_digest(self._file, "sha256").hexdigest() != self._sha256:
                raise Damaged(self._path) from error
            raise ServerError("the content arrived damaged", error.response.status) from error

    def _send_parts(self) -> None:
        if not self._upload_id:
            answer = self._s3.send("POST", self._bucket, self._key, query={"uploads": ""}, headers=self._metadata)
            self._upload_id = answered(answer, "UploadId")
            self._etags.clear()
            self._digest = hashlib.sha256()
        for start in range(len(self._etags) * self._part_bytes, self._size_bytes, self._part_bytes):
            query = {"uploadId": self._upload_id, "partNumber": str(len(self._etags) + 1)}
            part = _DigestedSection(self._file, start, min(self._part_bytes, self._size_bytes - start), self._watch,
                                    self._digest.copy() if self._sha256 else None)
            self._etags.append(self._put(part, {}, query))
            if part.sha256:
                self._digest = part.sha256

    def _join_parts(self) -> str:
        etag = join_parts(self._s3, self._bucket, self._key, self._upload_id, self._etags, self._condition)
        self._upload_id = ""
        return etag

    def _put(self, section: _Section, headers: dict[str, str], query: dict[str, str]) -> str:
        headers = headers | {"Content-Length": str(section.size_bytes), "Content-Type": "application/octet-stream"}
        answer = self._s3.send("PUT", self._bucket, self._key, query=query, headers=headers, body=section)
        etag = answer.headers["etag"].strip('"')
        # Of encrypted content the ETag is no MD5.
        if isinstance(section, _DigestedSection) and ENCRYPTED not in answer.headers and etag != section.md5:
            raise ServerError("a part arrived damaged", answer.status)
        return etag


class _Section:
    """A part of a file, read as the connection takes it."""

    def __init__(self, file: BufferedReader, start: int, size_bytes: int, watch: Watch | None) -> None:
        self._file, self._watch = file, watch
        self._at, self._end, self.size_bytes = start, start + size_bytes, size_bytes
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        wanted = left if size < 0 else min(size, left)
        chunk = self._file.read(wanted)
        if len(chunk) < wanted:
            raise OSError("the file became shorter while it was sent")
        self._at += len(chunk)
        if self._watch and chunk:
            self._watch(self._at)
        return chunk


class _DigestedSection(_Section):
    """`sha256` has heard what comes before the section."""

    def __init__(self, file: BufferedReader, start: int, size_bytes: int, watch: Watch | None,
                 sha256: hashlib._Hash | None) -> None:
        super().__init__(file, start, size_bytes, watch)
        self._md5, self.sha256 = hashlib.md5(usedforsecurity=False), sha256

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    def read(self, size: int = -1) -> bytes:
        chunk = super().read(size)
        self._md5.update(chunk)
        if self.sha256:
            self.sha256.update(chunk)
        return chunk


def join_parts(s3: S3Connection, bucket: str, key: str, upload_id: str, etags: list[str], condition: dict[str, str],
               ) -> str:
    """Make the parts the object; its etag."""
    root = ElementTree.Element("CompleteMultipartUpload")
    for number, etag in enumerate(etags, start=1):
        part = ElementTree.SubElement(root, "Part")
        ElementTree.SubElement(part, "PartNumber").text = str(number)
        ElementTree.SubElement(part, "ETag").text = f'"{etag}"'
    answer = s3.send("POST", bucket, key, query={"uploadId": upload_id}, headers=condition,
                     body=ElementTree.tostring(root))
    return answered(answer, "ETag").strip('"')


def answered(answer: BaseHTTPResponse, name: str) -> str:
    """A field of an answer in XML."""
    return ElementTree.fromstring(answer.data).findtext(f"s3:{name}", "", NAMESPACE)
