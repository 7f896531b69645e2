"""POST /uploads/complete: files that came in parts become objects."""
from __future__ import annotations

import flask

from shared.api.http import endpoint
from shared.api.uploads import UploadView, view_upload
from shared.errors import Conflict, NotFound
from shared.settings import get_settings
from shared.texts import Text
from shared.uploads.requests import UploadRef
from shared.uploads.steps import complete_upload as complete


@endpoint("POST", "/uploads/complete", scope="write",
          title=Text("完成上传: 合并分片, 并确认所有文件均已到达; 可重复调用",
                     "Join the parts of an upload and see that all its files are there; it may be called again"),
          message=Text("上传已完成", "all files are there"), errors=(NotFound, Conflict), lane="create")
def complete_upload(request: UploadRef, http: flask.Request) -> UploadView:
    settings = get_settings()
    return view_upload(complete(request.upload_id, settings), settings, http)
