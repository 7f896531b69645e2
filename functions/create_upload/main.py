"""POST /uploads: room for a model, and where to send it."""
from __future__ import annotations

import flask

from shared.api.http import endpoint
from shared.api.uploads import UploadView, require_way_in, view_upload
from shared.errors import NotFound, NotOffered
from shared.limits.uploads import upload_of
from shared.settings import get_settings
from shared.texts import Text
from shared.uploads.requests import CreateUpload
from shared.uploads.steps import begin_upload, find_upload


@endpoint("POST", "/uploads", scope="write",
          title=Text("创建上传: 返回每个文件的上传地址; 带 upload_id 时为未到达的部分返回新地址",
                     "Room for files, and where to send each; with an upload_id new URLs for what has not arrived"),
          message=Text("上传地址已生成", "send the files to their URLs"), errors=(NotFound, NotOffered), lane="create")
def create_upload(request: CreateUpload, http: flask.Request) -> UploadView:
    settings = get_settings()
    require_way_in(settings, http)
    wanted = request.all_files()
    with upload_of(sum(file.size_bytes for file in wanted)):
        upload = begin_upload(wanted, settings) if wanted else find_upload(request.upload_id or "", settings)
    return view_upload(upload, settings, http)
