"""Making room for an upload, going on with one, and ending it. Knows no HTTP."""
from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from pydantic import ValidationError

from shared.access import own_tenant
from shared.deadlines import check_time
from shared.deps import get_files, get_grants
from shared.errors import Conflict, InvalidRequest, NotFound, PreconditionFailed
from shared.files import FileInfo
from shared.files.grants import Part
from shared.files.paths import check_name
from shared.platforms import get_platforms
from shared.settings import Settings
from shared.uploads.records import (
    RECORD,
    UploadedFile,
    UploadRecord,
    folder_of,
    new_upload_id,
    no_upload,
    part_size,
    read_record,
    write_record,
)
from shared.uploads.requests import FileToUpload

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileState:
    """A file of an upload: whether it is there, and if not, which parts of it are missing."""

    file: UploadedFile
    path: str
    arrived: bool
    missing: list[Part]


@dataclass(frozen=True)
class Upload:
    record: UploadRecord
    states: list[FileState]

    @property
    def input_path(self) -> str:
        """The model: the first file that a target takes by its suffix, else the first."""
        suffixes = {suffix for platform in get_platforms().values() for suffix in platform.input_suffixes}
        models = (state.path for state in self.states if PurePosixPath(state.path).suffix.lower() in suffixes)
        return next(models, self.states[0].path)


def begin_upload(wanted: list[FileToUpload], settings: Settings) -> Upload:
    """Make room for these files. The server chooses where.

    Raises:
        InvalidRequest: a name is wrong or there twice, or the files are too large together.
        Unavailable, OutOfTime.
    """
    now = time.time()
    upload_id = new_upload_id(now)
    _check_files(wanted, folder_of(settings.uploads_bucket, upload_id, own_tenant()), settings)
    part_bytes = part_size(sum(file.size_bytes for file in wanted), settings.upload_part_bytes)
    record = UploadRecord(id=upload_id, tenant=own_tenant(), created_at=now, files=[
        UploadedFile(name=file.file_name, size_bytes=file.size_bytes, sha256=file.sha256,
                     part_bytes=part_bytes if file.size_bytes > part_bytes else None) for file in wanted])
    bucket = settings.uploads_bucket
    seen = write_record(get_files(), bucket, record)  # it makes the bucket too
    begun = _with_parts_ids(record, bucket, {file.name for file in record.files if file.part_bytes})
    if begun != record:
        write_record(get_files(), bucket, begun, seen)
    return Upload(begun, [FileState(file, begun.path(bucket, file), False, file.parts()) for file in begun.files])


def find_upload(upload_id: str, settings: Settings) -> Upload:
    """An upload that was made before, as far as it has come. Where parts were forgotten, they begin anew.

    Raises:
        NotFound: there is none.
        Unavailable, OutOfTime.
    """
    bucket = settings.uploads_bucket
    while True:
        record, seen = _read(upload_id, settings)
        states, forgotten = _look(record, bucket)
        if not forgotten:
            return Upload(record, states)
        try:
            write_record(get_files(), bucket, _with_parts_ids(record, bucket, forgotten), seen)
        except PreconditionFailed:
            check_time()  # somebody else goes on with it at the same time


def complete_upload(upload_id: str, settings: Settings) -> Upload:
    """Make each file that came in parts one object, and see that all are there. It may be called again.

    Raises:
        NotFound: there is no such upload.
        Conflict: something is missing; the message says what.
        Busy: a part is being sent just now.
        Unavailable, OutOfTime.
    """
    record, _ = _read(upload_id, settings)
    states, _ = _look(record, settings.uploads_bucket)
    if missing := [state for state in states if not state.arrived and (state.missing or not state.file.part_bytes)]:
        raise Conflict(f"上传尚未完整, 缺少: {_say(missing, '分片')}",
                       f"the upload is not whole, there is missing: {_say(missing, 'parts')}")
    for state in states:
        check_time()
        if not state.arrived:
            try:
                get_grants().join(state.path, state.file.parts_id or "", state.file.parts())
            except NotFound:  # an earlier call has joined them, whose answer was lost, or another does it now
                logger.info("the parts of %s were joined meanwhile", state.path)
    states, _ = _look(record, settings.uploads_bucket)
    if not all(state.arrived for state in states):
        raise Conflict("上传正在被另一请求修改, 请稍后重试", "another request is changing this upload: try again later")
    return Upload(record, states)


def _say(missing: list[FileState], parts: str) -> str:
    """The first of these files, each with its missing parts; `parts` is the word for them in the client's language."""
    def say(state: FileState) -> str:
        numbers = [str(part.number) for part in state.missing]
        return state.file.name + (f" ({parts} {', '.join(numbers[:10])}{', …' if numbers[10:] else ''})"
                                  if numbers else "")

    return "; ".join(map(say, missing[:5])) + ("; …" if missing[5:] else "")


def _read(upload_id: str, settings: Settings) -> tuple[UploadRecord, FileInfo]:
    try:
        return read_record(get_files(), settings.uploads_bucket, upload_id, own_tenant())
    except ValidationError as error:
        logger.warning("the record of %s cannot be read: %s", upload_id, error)
        raise no_upload() from error


def _look(record: UploadRecord, bucket: str) -> tuple[list[FileState], set[str]]:
    """The files' states, and the names of those whose parts are forgotten."""
    there = {info.path: info.size_bytes for info in get_files().find(folder_of(bucket, record.id, record.tenant) + "/")}
    states, forgotten = [], set()
    for file in record.files:
        path = record.path(bucket, file)
        arrived = there.get(path) == file.size_bytes
        missing = file.parts()
        if missing and not arrived:
            check_time()
            found = get_grants().arrived(path, file.parts_id) if file.parts_id else None
            if found is None:
                forgotten.add(file.name)
            missing = [part for part in missing if (found or {}).get(part.number) != part.size_bytes]
        states.append(FileState(file, path, arrived, [] if arrived else missing))
    return states, forgotten


def _with_parts_ids(record: UploadRecord, bucket: str, names: set[str]) -> UploadRecord:
    """The record, with new ids for the parts of these files."""
    def begun() -> Iterator[UploadedFile]:
        for file in record.files:
            check_time()
            yield file if file.name not in names else file.model_copy(update={
                "parts_id": get_grants().begin(record.path(bucket, file), file.size_bytes)})

    return record.model_copy(update={"files": list(begun())})


def _check_files(wanted: list[FileToUpload], folder: str, settings: Settings) -> None:
    for index, file in enumerate(wanted):
        field = "file_name" if len(wanted) == 1 else f"files[{index}].file_name"
        name = check_name(file.file_name, field, folder)
        if name.partition("/")[0] == RECORD:
            raise InvalidRequest(f"{field} 无效: {RECORD} 为服务自用", f"{field} is invalid: {RECORD} is ours")
    names = sorted(file.file_name + "/" for file in wanted)  # so that what lies below a name follows it
    for one, next_one in pairwise(names):
        if next_one.startswith(one):
            one, next_one = one.rstrip("/"), next_one.rstrip("/")
            raise InvalidRequest(f"files 无效: {one} 与 {next_one} 不能同时存在",
                                 f"files is invalid: {one} and {next_one} cannot both be there")
    total = sum(file.size_bytes for file in wanted)
    if total > settings.max_model_bytes:
        raise InvalidRequest(f"size_bytes 无效: 共 {total} 字节, 上限为 {settings.max_model_bytes} 字节",
                             f"size_bytes is invalid: {total} bytes in all, {settings.max_model_bytes} are taken")
