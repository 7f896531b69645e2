"""Objects in MinIO, or in any server that speaks S3 with conditional writes."""
from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from minio.commonconfig import Tags
from minio.error import InvalidResponseError, MinioException, S3Error
from urllib3.exceptions import HTTPError

from shared.deadlines import check_time
from shared.errors import NotFound, PreconditionFailed, StorageRefused, Unavailable
from shared.files import SMALL_BYTES, Condition, FileInfo, IfMatch, Watch
from shared.files.minio_download import Download
from shared.files.minio_http import PAUSES_S, Attempts, S3Connection, is_passing
from shared.files.minio_touch import touch
from shared.files.minio_upload import Upload
from shared.files.transfer import Arriving, write_whole
from shared.tls import NO_FILES, Tls, unavailable

METADATA = "x-amz-meta-"
MARK = f"{METADATA}model-convert-mark"
MAX_TAG_CHARS = 256
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 +\-=._:/@]")
ABSENT = ("NoSuchKey", "NoSuchBucket")
OWN_BUCKET = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
LOST = ("PreconditionFailed", "ConditionalRequestConflict")
# Refusals that are not for good: the server is too busy, or the operator changes keys or clocks.
PASSING = ("SlowDown", "RequestTimeout", "OperationAborted", "InvalidAccessKeyId", "SignatureDoesNotMatch",
           "ExpiredToken", "RequestTimeTooSkewed", "NoSuchUpload")

Result = TypeVar("Result")


class MinioFiles:
    """`Files` over MinIO. The URL's forms are told at `S3Connection`."""

    def __init__(self, url: str, timeout_s: float, tls: Tls = NO_FILES) -> None:
        self._s3 = S3Connection(url, timeout_s, tls)
        self._known_buckets: set[str] = set()

    def stat(self, path: str) -> FileInfo | None:
        bucket, _, key = path.partition("/")
        with _reported(path):
            try:
                return self._stat(bucket, key)
            except S3Error as error:
                if error.code in ABSENT:
                    return None
                raise

    def download(self, path: str, target: Path, *, max_bytes: int, etag: str | None = None,
                 watch: Watch | None = None) -> FileInfo:
        with _reported(path), write_whole(target) as file:
            arriving = Arriving(file.fileno(), watch)
            download, attempts = Download(self._s3, path, etag, max_bytes, arriving), Attempts()
            while not download.is_whole:
                try:
                    download.receive()
                except (HTTPError, MinioException) as error:
                    attempts.failed(error, arriving.size_bytes)
            return FileInfo(path, arriving.size_bytes, str(download.etag), sha256=arriving.finish())

    def read_range(self, path: str, start: int, length: int) -> tuple[FileInfo, bytes]:
        bucket, _, key = path.partition("/")
        with _reported(path), self._s3.one_limit():
            while True:
                try:
                    answer = self._s3.send("GET", bucket, key, small=True,
                                           headers={"Range": f"bytes={start}-{start + length - 1}"})
                except S3Error as error:
                    if error.code != "InvalidRange":
                        raise
                else:
                    total = answer.headers["content-range"].rpartition("/")[2]  # of `bytes 10-19/100`
                    return FileInfo(path, int(total), answer.headers["etag"].strip('"')), answer.data
                found = self._stat(bucket, key)
                if found.size_bytes <= start:  # else it has grown since it was refused
                    return FileInfo(path, found.size_bytes, found.etag), b""

    def peek(self, path: str, length: int) -> tuple[FileInfo, bytes] | None:
        bucket, _, key = path.partition("/")
        with _reported(path), self._s3.one_limit():
            if quick := self._s3.read_quickly(bucket, key, length):
                return _info_of(path, quick[0]), quick[1]
            while True:
                try:
                    answer = self._s3.send("GET", bucket, key, small=True, headers={"Range": f"bytes=0-{length - 1}"})
                    return _info_of(path, answer.headers), answer.data
                except S3Error as error:
                    if error.code in ABSENT:
                        return None
                    if error.code != "InvalidRange":
                        raise
                found = self.stat(path)
                if found is None:
                    return None
                if not found.size_bytes:  # else it has grown since it was refused
                    return found, b""

    def read_url(self, path: str, life_s: float, headers: Mapping[str, str], public_url: str = "") -> str | None:
        bucket, _, key = path.partition("/")
        wanted: dict[str, Any] = {f"response-{name.lower()}": value for name, value in headers.items()}
        return self._s3.signer(public_url).get_presigned_url("GET", bucket, key, expires=timedelta(seconds=life_s),
                                                             response_headers=wanted)

    def _stat(self, bucket: str, key: str) -> FileInfo:
        found = self._s3.small.stat_object(bucket, key)
        if found.size is None or found.etag is None:
            raise InvalidResponseError(200, None, "a HEAD without size or ETag")
        headers = found.metadata or {}
        return FileInfo(f"{bucket}/{key}", found.size, found.etag, _seconds(found.last_modified), headers.get(MARK),
                        _metadata(headers), found.version_id if found.version_id != "null" else None)

    def upload(self, source: Path, path: str, *, condition: Condition = None, immutable: bool = False,
               mark: str | None = None, sha256: str | None = None, watch: Watch | None = None) -> FileInfo:
        bucket = path.partition("/")[0]
        with source.open("rb") as file, _reported(path):
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes > SMALL_BYTES:
                self._check_early(condition, path)
            self._need_bucket(bucket)
            metadata = {} if mark is None else {MARK: mark}
            with Upload(self._s3, path, file, condition, metadata, sha256, watch) as upload:
                try:
                    etag = self._settle(upload, path, mark)
                except S3Error as error:
                    if error.code != "NoSuchBucket":
                        raise
                    self._known_buckets.discard(bucket)
                    self._need_bucket(bucket)
                    etag = self._settle_in_bucket(upload, path, mark)
        return FileInfo(path, size_bytes, etag)

    def _settle_in_bucket(self, upload: Upload, path: str, mark: str | None) -> str:
        """Send into a bucket that has just been made."""
        try:
            return self._settle(upload, path, mark)
        except S3Error as error:
            if error.code == "NoSuchBucket":
                raise StorageRefused(path, error.code) from error
            raise

    def _check_early(self, condition: Condition, path: str) -> None:
        """The write itself decides; but what has already lost need not be sent."""
        if condition is None:
            return
        found = self.stat(path)
        wanted = condition.etag if isinstance(condition, IfMatch) else None
        if (found.etag if found else None) != wanted:
            raise PreconditionFailed(path)

    def _settle(self, upload: Upload, path: str, mark: str | None) -> str:
        """Send, again where the connection broke; the new etag.

        An attempt whose answer was lost may have been stored. Then the next one finds our own object in its way.
        """
        attempts = Attempts()
        while True:
            try:
                return upload.send()
            except S3Error as error:
                if error.code in (*LOST, *ABSENT, "NoSuchUpload") and not attempts.is_first and (
                        self._has(path, upload.own_etag(), mark)):
                    return upload.own_etag()
                attempts.failed(error, upload.parts_sent)
            except (HTTPError, MinioException) as error:
                attempts.failed(error, upload.parts_sent)

    def _has(self, path: str, etag: str, mark: str | None) -> bool:
        found = self.stat(path)
        return found is not None and (found.etag, found.mark) == (etag, mark)

    def _need_bucket(self, bucket: str) -> None:
        if bucket in self._known_buckets:
            return
        if not self._s3.small.bucket_exists(bucket):
            try:
                self._s3.small.make_bucket(bucket)
            except S3Error as error:
                if error.code not in OWN_BUCKET:
                    raise
        self._known_buckets.add(bucket)

    def touch(self, path: str) -> bool:
        bucket, _, key = path.partition("/")
        try:
            with _reported(path):
                _repeated(lambda: touch(self._s3, bucket, key))
        except NotFound:
            return False
        except PreconditionFailed:
            pass  # somebody has written or touched it meanwhile: it is new
        return True

    def tag(self, path: str, tags: Mapping[str, str]) -> None:
        bucket, _, key = path.partition("/")
        with _reported(path), self._s3.one_limit():
            there = self._s3.small.get_object_tags(bucket, key)
            wanted = Tags.new_object_tags()
            try:
                wanted.update({**(there or {}), **{name: _fit_for_a_tag(value) for name, value in tags.items()}})
            except ValueError as error:  # S3 has ten a thing
                raise StorageRefused(path, str(error)) from error
            if wanted != there:
                self._s3.small.set_object_tags(bucket, key, wanted)

    def delete(self, path: str, *, seen: FileInfo | None = None) -> None:
        bucket, _, key = path.partition("/")
        with suppress(NotFound), _reported(path), self._s3.one_limit():
            if seen is not None and not self._has(path, seen.etag, seen.mark):
                return
            self._s3.small.remove_object(bucket, key)

    def find(self, prefix: str) -> Iterator[FileInfo]:
        bucket, _, start = prefix.partition("/")
        with suppress(NotFound), _reported(prefix):
            for found in self._s3.small.list_objects(bucket, prefix=start, recursive=True):
                check_time()
                yield FileInfo(f"{bucket}/{found.object_name}", found.size, found.etag,
                               _seconds(found.last_modified))

    def ping(self) -> None:
        with _reported(""):
            self._s3.small.list_buckets()

    def close(self) -> None:
        self._s3.close()


def _info_of(path: str, headers: Mapping[str, str]) -> FileInfo:
    """Of the answer to a GET of a part."""
    total = headers["content-range"].rpartition("/")[2]  # of `bytes 0-19/100`
    modified, version = headers.get("last-modified"), headers.get("x-amz-version-id")
    return FileInfo(path, int(total), headers["etag"].strip('"'),
                    parsedate_to_datetime(modified).timestamp() if modified else None, headers.get(MARK),
                    _metadata(headers), version if version != "null" else None)


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower().removeprefix(METADATA): value for name, value in headers.items()
            if name.lower().startswith(METADATA)}


def _fit_for_a_tag(value: str) -> str:
    """Source: Amazon S3, "Categorizing your objects using tags": letters, numbers, spaces and these signs; MinIO takes
    letters and numbers of ASCII alone."""
    return _NOT_IN_TAGS.sub("_", value)[:MAX_TAG_CHARS]


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _repeated(action: Callable[[], Result]) -> Result:
    for pause_s in PAUSES_S:
        try:
            return action()
        except (HTTPError, MinioException) as error:
            if not is_passing(error):
                raise
        time.sleep(pause_s)
    return action()


@contextmanager
def _reported(path: str) -> Iterator[None]:
    """The drivers' errors in the service's own terms. None of them carries the key or a signed URL in its text."""
    try:
        yield
    except S3Error as error:
        if error.code in LOST:
            raise PreconditionFailed(path) from error
        if error.code in ABSENT:
            raise NotFound(f"对象不存在: {path}", f"no such object: {path}") from error
        if 400 <= error.response.status < 500 and error.code not in PASSING:
            raise StorageRefused(path, error.code or str(error.response.status)) from error
        raise Unavailable("files", error.code or "") from error
    except (HTTPError, MinioException) as error:
        raise unavailable("files", error, type(error).__name__) from error
    except OSError as error:
        raise Unavailable("files", os.strerror(error.errno) if error.errno else type(error).__name__) from error


def open_minio(url: str, timeout_s: float, tls: Tls) -> MinioFiles:
    return MinioFiles(url, timeout_s, tls)
