"""Presigned uploads to MinIO, or to any server that speaks S3."""
from __future__ import annotations

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote, urlsplit, urlunsplit
from xml.etree import ElementTree

from minio.error import S3Error
from pydantic import SecretStr

from shared.errors import NotFound
from shared.files.grants import MAX_PARTS, Grant, Part
from shared.files.minio import _reported as reported
from shared.files.minio_http import UNSIGNED, S3Connection
from shared.files.minio_upload import NAMESPACE
from shared.tls import NO_FILES, Tls

ALGORITHM = "AWS4-HMAC-SHA256"


class MinioGrants:
    """`Grants` as presigned URLs. The store itself refuses a body of another size: `Content-Length` is signed."""

    through_gateway = False

    def __init__(self, url: str, timeout_s: float, public_url: str = "", tls: Tls = NO_FILES) -> None:
        self._s3 = S3Connection(url, timeout_s, tls)
        parts = urlsplit(url)
        self._key, self._secret = unquote(parts.username or ""), unquote(parts.password or "")
        self._region = self._s3.region
        self._public_url = public_url

    def whole(self, path: str, size_bytes: int, expires_at: float) -> Grant:
        return self._grant(path, {}, size_bytes, expires_at)

    def begin(self, path: str, size_bytes: int) -> str:
        bucket, _, key = path.partition("/")
        with reported(path), self._s3.one_limit():
            answer = self._s3.send("POST", bucket, key, query={"uploads": ""}, small=True)
            return ElementTree.fromstring(answer.data).findtext("s3:UploadId", "", NAMESPACE)

    def part(self, path: str, parts_id: str, part: Part, expires_at: float) -> Grant:
        return self._grant(path, {"partNumber": str(part.number), "uploadId": parts_id}, part.size_bytes, expires_at)

    def arrived(self, path: str, parts_id: str) -> dict[int, int] | None:
        found = self._find(path, parts_id)
        return None if found is None else {number: size_bytes for number, (size_bytes, _) in found.items()}

    def join(self, path: str, parts_id: str, parts: list[Part]) -> None:
        found = self._find(path, parts_id)
        if found is None:
            raise NotFound(f"没有这些分片: {path}", f"no such parts: {path}")
        bucket, _, key = path.partition("/")
        root = ElementTree.Element("CompleteMultipartUpload")
        for part in parts:
            of_part = ElementTree.SubElement(root, "Part")
            ElementTree.SubElement(of_part, "PartNumber").text = str(part.number)
            ElementTree.SubElement(of_part, "ETag").text = found[part.number][1]
        with reported(path), self._s3.one_limit():
            self._s3.send("POST", bucket, key, query={"uploadId": parts_id}, body=ElementTree.tostring(root),
                          small=True)

    def close(self) -> None:
        self._s3.close()

    def _find(self, path: str, parts_id: str) -> dict[int, tuple[int, str]] | None:
        """Size and ETag of each part. No upload of ours has more of them than one answer holds."""
        bucket, _, key = path.partition("/")
        with reported(path), self._s3.one_limit():
            try:
                answer = self._s3.send("GET", bucket, key, query={"uploadId": parts_id, "max-parts": str(MAX_PARTS)},
                                       small=True)
            except S3Error as error:
                if error.code in ("NoSuchUpload", "NoSuchBucket", "NoSuchKey"):
                    return None
                raise
            return {int(part.findtext("s3:PartNumber", "", NAMESPACE)): (
                int(part.findtext("s3:Size", "", NAMESPACE)), part.findtext("s3:ETag", "", NAMESPACE))
                for part in ElementTree.fromstring(answer.data).iterfind("s3:Part", NAMESPACE)}

    def _grant(self, path: str, query: dict[str, str], size_bytes: int, expires_at: float) -> Grant:
        bucket, _, key = path.partition("/")
        headers = {"Content-Length": str(size_bytes)}
        now = time.time()
        expires_s = max(1, int(expires_at - now))
        url = self._s3.signer(self._public_url).get_presigned_url(
            "PUT", bucket, key, expires=timedelta(seconds=expires_s), extra_query_params=dict(query))
        return Grant("PUT", self._sign("PUT", url, headers, expires_s, now), expires_at, headers)

    def _sign(self, method: str, url: str, headers: dict[str, str], expires_s: int, now: float) -> str:
        """The URL with a signature that includes these headers; minio-py's own includes the host alone.

        Source: Amazon S3, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
        """
        parts = urlsplit(url)
        moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{moment[:8]}/{self._region}/s3/aws4_request"
        signed = {"host": parts.netloc} | {name.lower(): value for name, value in headers.items()}
        names = ";".join(sorted(signed))
        kept = [pair for pair in parts.query.split("&") if not pair.startswith("X-Amz-")]
        added = {"X-Amz-Algorithm": ALGORITHM, "X-Amz-Credential": f"{self._key}/{scope}", "X-Amz-Date": moment,
                 "X-Amz-Expires": str(expires_s), "X-Amz-SignedHeaders": names}
        query = "&".join(sorted([*filter(None, kept), *(f"{name}={quote(value, safe='')}"
                                                        for name, value in added.items())]))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        request = f"{method}\n{parts.path}\n{query}\n{lines}\n{names}\n{UNSIGNED}"
        text = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for word in scope.split("/"):
            key = _mac(key, word)
        return urlunsplit(parts._replace(query=f"{query}&X-Amz-Signature={_mac(key, text).hex()}"))


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def open_minio(url: str, timeout_s: float, public_url: str, secret: SecretStr | None, tls: Tls) -> MinioGrants:
    return MinioGrants(url, timeout_s, public_url, tls)
