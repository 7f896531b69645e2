"""What object stores say when an object arrives: any maker's body becomes `StoredObject`s, or the reason why not.

    Arrived = read_events(body, headers)      # once for each record of the body

An event is a doorbell: only bucket and key count, and `take` asks the store for the rest. So a record that tells of
something else than an arrival, or that cannot be read, is ignored with the reason, and never spoils its neighbours.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.texts import Text
from shared.triggers.events.cloudevents import read_binary, read_structured
from shared.triggers.events.envelopes import read_json, read_sns, unwrap
from shared.triggers.events.fields import Arrived, Subscription, Unreadable
from shared.triggers.events.records import read_record, records_of

__all__ = ["Arrived", "Subscription", "read_events"]

MAX_RECORDS = 100  # of one body. The stores send 1, or 10 at most
MAX_DEPTH = 4  # such as Lambda's record of SNS's message of S3's records

TOO_MANY = Text(f"一次通知最多处理 {MAX_RECORDS} 条记录; 其余对象由定期扫描发现",
                f"at most {MAX_RECORDS} records of one body are looked at; the sweep finds the others' objects")
UNKNOWN = Text("无法识别的通知格式", "no form of event that is known here")
NESTED = Text("通知嵌套过深", "the event is nested too deeply")


def read_events(body: bytes, headers: Mapping[str, str] | None = None) -> list[Arrived | Subscription]:
    """One entry for each record of the body, in its order; `headers` are those of an HTTP request, names lower case.

    Raises:
        InvalidRequest: the body is no JSON. No object store sends such a thing.
    """
    headers = headers or {}
    if "ce-specversion" in headers:
        return _read(read_binary(headers) | {"data": read_json(body)}, 0)
    return _read(read_json(body), 0)


def _read(body: Any, depth: int) -> list[Arrived | Subscription]:
    """The records of a parsed body, of whichever form."""
    if depth > MAX_DEPTH:
        return [Arrived(ignored=NESTED)]
    if isinstance(body, list):  # CloudEvents in a batch
        return _each(body, depth)
    if not isinstance(body, dict):
        return [Arrived(ignored=UNKNOWN)]
    try:
        if (sent := read_sns(body)) is not None:
            return [sent] if isinstance(sent, Subscription) else _read(sent, depth + 1)
        if body.get("Event") == "s3:TestEvent":
            return [Arrived(name="s3:TestEvent", ignored=Text("测试消息", "a test message"))]
        if "specversion" in body:
            return _each(read_structured(body), depth)
        if (records := records_of(body)) is not None:
            return _each(records, depth)
        return [read_record(body)]
    except Unreadable as error:
        return [Arrived(ignored=error.text)]


def _each(records: list[Any], depth: int) -> list[Arrived | Subscription]:
    found: list[Arrived | Subscription] = []
    for record in records[:MAX_RECORDS]:
        found += _read_one(record, depth)
    if len(records) > MAX_RECORDS or len(found) > MAX_RECORDS:
        return [*found[:MAX_RECORDS], Arrived(ignored=TOO_MANY)]
    return found


def _read_one(record: Any, depth: int) -> list[Arrived | Subscription]:
    """A record of a list: an object's, or an envelope around a whole body of its own."""
    try:
        if (inner := unwrap(record)) is not None:
            return _read(inner, depth + 1)
        return [read_record(record)]
    except Unreadable as error:
        return [Arrived(ignored=error.text)]
