"""What was announced of an upload. It lies in the object store, beside the files: `BUCKET/UPLOAD_ID/.upload.json`.

The server writes it before it answers. What it says of a file never changes, but for the id under which parts come.
"""
from __future__ import annotations

import re
import secrets
import tempfile
from pathlib import Path

from pydantic import Field

from shared.access.places import folder_of_tenant, split_tenant
from shared.documents import DEFAULT_TENANT, Document, Seconds
from shared.errors import NotFound
from shared.files import Condition, FileInfo, Files, IfAbsent, IfMatch
from shared.files.grants import MAX_PARTS, Part

RECORD = ".upload.json"
MAX_RECORD_BYTES = 4 << 20
UPLOAD_ID = re.compile(r"upload_[0-9]{10,12}_[0-9a-f]{32}")
MIB = 1 << 20


class UploadedFile(Document):
    """`parts_id` and `part_bytes` are there if it comes in parts."""

    name: str
    size_bytes: int
    sha256: str | None = Field(None, exclude_if=lambda value: value is None)
    part_bytes: int | None = Field(None, exclude_if=lambda value: value is None)
    parts_id: str | None = Field(None, exclude_if=lambda value: value is None)

    def parts(self) -> list[Part]:
        """Its parts in order; none where it comes whole."""
        if self.part_bytes is None:
            return []
        return [Part(number, start, min(self.part_bytes, self.size_bytes - start))
                for number, start in enumerate(range(0, self.size_bytes, self.part_bytes), start=1)]


class UploadRecord(Document):
    id: str
    tenant: str = Field(DEFAULT_TENANT, exclude_if=lambda value: value == DEFAULT_TENANT)
    created_at: Seconds
    files: list[UploadedFile]

    def path(self, bucket: str, file: UploadedFile) -> str:
        return f"{folder_of(bucket, self.id, self.tenant)}/{file.name}"


def new_upload_id(now: float) -> str:
    """Who knows the id can go on with the upload, so nobody can guess it."""
    return f"upload_{int(now):010}_{secrets.token_hex(16)}"


def folder_of(bucket: str, upload_id: str, tenant: str) -> str:
    return f"{bucket}/{folder_of_tenant(tenant)}{upload_id}"


def upload_of(path: str) -> tuple[str, str] | None:
    """The tenant and the id of the upload whose folder a path of the uploads' bucket lies in."""
    tenant, rest = split_tenant(path.partition("/")[2])
    upload_id, slash, _ = rest.partition("/")
    return (tenant, upload_id) if slash and UPLOAD_ID.fullmatch(upload_id) else None


def part_size(total_bytes: int, least_bytes: int) -> int:
    """How large the parts of an upload are of so many bytes in all: whole MiB, so that there are not too many."""
    return max(least_bytes, -(-total_bytes // (MAX_PARTS * MIB)) * MIB)


def write_record(files: Files, bucket: str, record: UploadRecord, seen: FileInfo | None = None) -> FileInfo:
    """Write it for the first time, or over the one that was `seen`.

    Raises:
        PreconditionFailed: somebody else has written it meanwhile.
        Unavailable.
    """
    condition: Condition = IfAbsent() if seen is None else IfMatch(seen.etag)
    with tempfile.TemporaryDirectory(prefix="upload-record-") as folder:
        source = Path(folder) / RECORD
        source.write_text(record.model_dump_json())
        return files.upload(source, f"{folder_of(bucket, record.id, record.tenant)}/{RECORD}", condition=condition)


def read_record(files: Files, bucket: str, upload_id: str, tenant: str) -> tuple[UploadRecord, FileInfo]:
    """Raises:
        NotFound: the tenant has no such upload.
        pydantic.ValidationError: somebody has spoiled the record.
        Unavailable.
    """
    if not UPLOAD_ID.fullmatch(upload_id):
        raise no_upload()
    try:
        info, content = files.read_range(f"{folder_of(bucket, upload_id, tenant)}/{RECORD}", 0, MAX_RECORD_BYTES)
    except NotFound as error:
        raise no_upload() from error
    return UploadRecord.model_validate_json(content), info


def no_upload() -> NotFound:
    return NotFound("没有这个上传: 未曾创建, 或已过期被清理",
                    "there is no such upload: it was never made, or is gone since")


def given_digests(files: Files, path: str) -> dict[str, str]:
    """The SHA-256 that clients have given for the files of the upload that `path` belongs to, by path. None for what
    came otherwise.

    Raises:
        pydantic.ValidationError: somebody has spoiled the record.
        Unavailable.
    """
    bucket, found = path.partition("/")[0], upload_of(path)
    if path.startswith("/") or found is None:
        return {}
    tenant, upload_id = found
    try:
        record, _ = read_record(files, bucket, upload_id, tenant)
    except NotFound:
        return {}
    return {record.path(bucket, file): file.sha256 for file in record.files if file.sha256}
