"""Tencent COS: the record of a function's trigger."""
from __future__ import annotations

from typing import Any

from shared.triggers.events.fields import Arrived, arrived, look, metadata_of, need_text, not_an_arrival, text_of
from shared.triggers.events.names import both_ways, is_arrival

META = "x-cos-meta-"


def read_record(record: dict[str, Any]) -> Arrived:
    """The bucket's name in requests is NAME-APPID. The key stands behind /APPID/NAME/; the console's test message has a
    plain one behind a slash. How a key is encoded is not documented.

    The record also holds the uploader's request headers, a secret among them: nothing here quotes them.
    """
    event = need_text(record, "event", "eventName")
    name, app = need_text(record, "cos", "cosBucket", "name"), text_of(look(record, "cos", "cosBucket", "appid"))
    spelled = need_text(record, "cos", "cosObject", "key")
    whole = f"/{app}/{name}/"
    key = spelled.removeprefix(whole) if spelled.startswith(whole) else spelled.removeprefix("/")
    bucket = f"{name}-{app}" if app and not name.endswith(f"-{app}") else name
    keys = both_ways(key)
    if not is_arrival(event):
        return not_an_arrival(event, bucket, keys[0])
    item = record["cos"]["cosObject"]
    meta = item.get("meta")
    return arrived(bucket, keys, event=event, provider="cos", version=item.get("vid"), etag=look(meta, "ETag"),
                   size=item.get("size"), metadata=metadata_of(meta, META))
