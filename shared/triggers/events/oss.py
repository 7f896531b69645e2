"""Aliyun OSS: the record of a function's trigger, which is also the data of EventBridge's CloudEvents."""
from __future__ import annotations

from typing import Any

from shared.triggers.events.fields import Arrived, arrived, look, metadata_of, need_text, not_an_arrival
from shared.triggers.events.names import both_ways, is_arrival

META = "x-oss-meta-"


def read_record(record: dict[str, Any]) -> Arrived:
    """An object that is appended to tells of each part, and a multipart upload of its begin and its parts: what counts
    is the whole object. How a key is encoded is not documented."""
    event = need_text(record, "eventName")
    bucket, keys = need_text(record, "oss", "bucket", "name"), both_ways(need_text(record, "oss", "object", "key"))
    if not is_arrival(event):
        return not_an_arrival(event, bucket, keys[0])
    item = record["oss"]["object"]
    return arrived(bucket, keys, event=event, provider="oss", etag=item.get("eTag"), size=item.get("size"),
                   metadata=metadata_of(look(item, "objectMeta", "userMeta"), META))
