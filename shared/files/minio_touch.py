"""Making an object of S3 new without sending it: a copy onto itself, which the server makes."""
from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

from minio.error import MinioException
from urllib3.exceptions import HTTPError

from shared.files.minio_http import S3Connection
from shared.files.minio_upload import answered, join_parts

PART_BYTES = 512 << 20  # whose copy is answered within the time that a connection may be silent


def touch(s3: S3Connection, bucket: str, key: str) -> None:
    """Copy the object onto itself; its metadata goes. The server moves the content: a large one in parts, since nothing
    is answered meanwhile, and Amazon copies no more than 5 GiB at once.

    Source: Amazon S3, "CopyObject" and "UploadPartCopy".

    Raises:
        S3Error: the server refused.
        urllib3.exceptions.HTTPError: the connection failed.
    """
    found = s3.small.stat_object(bucket, key)
    size_bytes, etag = found.size or 0, f'"{found.etag}"'
    source = {"x-amz-copy-source": quote(f"{bucket}/{key}"), "x-amz-copy-source-if-match": etag}
    if size_bytes <= PART_BYTES:
        s3.send("PUT", bucket, key, headers=source | {"x-amz-metadata-directive": "REPLACE"})
    else:
        _copy_in_parts(s3, bucket, key, size_bytes, etag, source)


def _copy_in_parts(s3: S3Connection, bucket: str, key: str, size_bytes: int, etag: str, source: dict[str, str]) -> None:
    upload_id = answered(s3.send("POST", bucket, key, query={"uploads": ""}), "UploadId")
    etags: list[str] = []
    try:
        for start in range(0, size_bytes, PART_BYTES):
            end = min(start + PART_BYTES, size_bytes) - 1
            headers = source | {"x-amz-copy-source-range": f"bytes={start}-{end}"}
            query = {"uploadId": upload_id, "partNumber": str(len(etags) + 1)}
            etags.append(answered(s3.send("PUT", bucket, key, query=query, headers=headers), "ETag").strip('"'))
        join_parts(s3, bucket, key, upload_id, etags, {"If-Match": etag})
    except BaseException:
        with suppress(HTTPError, MinioException):  # out of reach: the server removes it itself after a day
            s3.send("DELETE", bucket, key, query={"uploadId": upload_id})
        raise
