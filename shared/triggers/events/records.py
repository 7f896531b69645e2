"""Whose record it is, by what it has. Each maker's own rules are in the other modules."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.triggers.events import cos, gcs, obs, oss, s3
from shared.triggers.events.fields import Arrived, Unreadable, look

# The first that fits: the field that only this maker's records have, and their reader.
READERS: tuple[tuple[str, Callable[[dict[str, Any]], Arrived]], ...] = (
    ("google", gcs.read_object), ("cos", cos.read_record), ("obs", obs.read_record),
    ("oss", oss.read_record), ("s3", s3.read_record), ("detail-type", s3.read_eventbridge),
    ("EventName", s3.read_bare))


def records_of(body: dict[str, Any]) -> list[Any] | None:
    """The records of a body that has several, or could; None where the body is a record itself."""
    records = body.get("Records", body.get("events"))
    if not isinstance(records, list) or not records:
        return None
    key = body.get("Key")
    if len(records) == 1 and isinstance(key, str) and isinstance(look(records[0], "s3"), dict):
        return [records[0] | {"Key": key}]  # MinIO: the key as it is, beside the record where it is encoded
    return records


def read_record(record: Any) -> Arrived:
    """One record.

    Raises:
        Unreadable: it is nobody's, or lacks what its maker's records have.
    """
    for field, read in READERS:
        if look(record, field) is not None:
            return read(record)
    raise Unreadable("无法识别的通知格式", "no form of event that is known here")
