"""OBS: its own notification (through SMN), and the same record as the data of EventGrid's CloudEvents."""
from __future__ import annotations

from typing import Any

from shared.triggers.events.fields import Arrived, arrived, look, need_text, not_an_arrival
from shared.triggers.events.names import both_ways, is_arrival


def read_record(record: dict[str, Any]) -> Arrived:
    """Whether keys are encoded is a switch of the event source (EventGrid); SMN's always are."""
    event = need_text(record, "eventName")
    bucket = look(record, "obs", "bucket", "name") or need_text(record, "obs", "bucket", "bucket")
    keys = both_ways(need_text(record, "obs", "object", "key"))
    if not is_arrival(event):
        return not_an_arrival(event, str(bucket), keys[0])
    item = record["obs"]["object"]
    version = item.get("versionId")
    if isinstance(version, str) and version.endswith("null"):
        version = None  # of an unversioned bucket
    return arrived(str(bucket), keys, event=event, provider="obs", version=version, etag=item.get("eTag"),
                   size=item.get("size"))
