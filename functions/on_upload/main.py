"""POST /events/storage: an object store tells of uploads, in its own words; what rules say is converted."""
from __future__ import annotations

import flask

from shared.api.http import endpoint
from shared.api.uploaded import PROBE, READS, UploadsSeen, take_events
from shared.errors import InvalidRequest, PayloadTooLarge, Unauthorized
from shared.texts import Text


@endpoint("POST", "/events/storage", scope=None,
          title=Text("接收对象存储的上传通知: MinIO, S3, SNS, EventBridge, CloudEvents, OBS, OSS, COS",
                     "Events of object stores: MinIO, S3, SNS, EventBridge, CloudEvents, OBS, OSS, COS"),
          message=Text("通知已处理", "events taken"), errors=(InvalidRequest, Unauthorized, PayloadTooLarge),
          lane="create", reads=READS, probe=PROBE)
def on_upload(request: flask.Request) -> UploadsSeen:
    return take_events(request)
