"""What clients see of an upload: where each file, or each part of one, is to be sent."""
from __future__ import annotations

import time

import flask
from pydantic import Field

from shared.deps import get_grants
from shared.errors import NotOffered
from shared.files.grants import Grant
from shared.schema import Model
from shared.settings import Settings
from shared.times import format_time
from shared.uploads.steps import FileState, Upload

# In the environment of a request whose server takes PUT /uploads/… too.
TAKES_UPLOADS = "model_convert.takes_uploads"


class PartToSend(Model):
    """One request: `method` to `url` with `headers`, and as its body `size_bytes` bytes of the file from `start`."""

    number: int
    start: int
    size_bytes: int
    method: str
    url: str
    headers: dict[str, str]


class FileToSend(Model):
    """One file. It is sent whole by one request, `method` to `url` with `headers`, or by one for each of `parts`."""

    file_name: str
    path: str = Field(description="`bucket/object`, as `input_path` and parameters take it")
    size_bytes: int
    arrived: bool = Field(description="it is there; nothing is to be sent")
    method: str | None = None
    url: str | None = None
    headers: dict[str, str] = Field({})
    part_bytes: int | None = Field(None, description="the size of each part but the last")
    parts: list[PartToSend] = Field([], description="those that have not arrived")
    expires_at: str | None = Field(None, description="until when the URLs are taken (UTC)")


class UploadView(Model):
    """An upload. Requests may be sent at once, in any order, and again; new URLs are given by POST /uploads with the
    `upload_id`."""

    upload_id: str
    input_path: str = Field(description="the model, for POST /tasks/create")
    must_complete: bool = Field(description="files come in parts: POST /uploads/complete when all are sent")
    files: list[FileToSend]


def view_upload(upload: Upload, settings: Settings, request: flask.Request) -> UploadView:
    """With URLs for all that is missing.

    Raises:
        NotOffered: nothing here would take what is sent there.
    """
    base = "" if all(state.arrived for state in upload.states) else _base(settings, request)
    expires_at = time.time() + settings.upload_url_s
    return UploadView(upload_id=upload.record.id, input_path=upload.input_path,
                      must_complete=any(state.file.part_bytes and not state.arrived for state in upload.states),
                      files=[_view(state, base, expires_at) for state in upload.states])


def require_way_in(settings: Settings, request: flask.Request) -> None:
    """Raises:
        NotOffered: nothing here would take an upload.
    """
    _base(settings, request)


def _base(settings: Settings, request: flask.Request) -> str:
    """What to put before the path of a URL that is the gateway's; nothing for other stores' URLs."""
    if not get_grants().through_gateway:
        return ""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    if not request.environ.get(TAKES_UPLOADS):
        raise NotOffered("本地文件存储的上传由网关接收 (python -m infra.gateway); 单独运行此函数时请设置 "
                         "MODEL_CONVERT_PUBLIC_URL",
                         "uploads to local files are taken by the gateway (python -m infra.gateway); to run this "
                         "function alone, set MODEL_CONVERT_PUBLIC_URL to where the gateway is")
    return request.host_url.rstrip("/")


def _view(state: FileState, base: str, expires_at: float) -> FileToSend:
    file, grants = state.file, get_grants()
    about = FileToSend(file_name=file.name, path=state.path, size_bytes=file.size_bytes, arrived=state.arrived,
                       part_bytes=file.part_bytes)
    if state.arrived:
        return about
    if not file.part_bytes:
        grant = grants.whole(state.path, file.size_bytes, expires_at)
        return about.model_copy(update=_fields(grant, base) | {"expires_at": format_time(grant.expires_at)})
    granted = [(part, grants.part(state.path, file.parts_id or "", part, expires_at)) for part in state.missing]
    return about.model_copy(update={
        "parts": [PartToSend(number=part.number, start=part.start, size_bytes=part.size_bytes, **_fields(grant, base))
                  for part, grant in granted],
        "expires_at": format_time(expires_at)})


def _fields(grant: Grant, base: str) -> dict[str, object]:
    return {"method": grant.method, "url": base + grant.url, "headers": grant.headers}
