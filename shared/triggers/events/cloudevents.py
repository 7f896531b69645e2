"""CloudEvents 1.0 over HTTP: the event as JSON (structured, batch), or its attributes as headers (binary).

Source: CloudEvents "HTTP Protocol Binding" and "JSON Event Format" 1.0.2. The cloudevents package does not decode
percent-encoded headers, which keys with other letters have.
"""
from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from shared.triggers.events.envelopes import read_inner
from shared.triggers.events.fields import Unreadable, look

GOOGLE = "google.cloud.storage.object."


def read_binary(headers: Mapping[str, str]) -> dict[str, Any]:
    """The attributes; the body is the `data`."""
    return {name.removeprefix("ce-"): unquote(_unquoted(value)) for name, value in headers.items()
            if name.startswith("ce-")}


def _unquoted(value: str) -> str:
    """Older senders put a value that needs it in quotes; the specification wants receivers to take that."""
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return value


def read_structured(event: dict[str, Any]) -> list[Any]:
    """The records that the event holds. Google's has none: the event itself says what its data is.

    Raises:
        Unreadable: the data cannot be read.
    """
    data = event.get("data")
    if data is None and isinstance(encoded := event.get("data_base64"), str):
        data = _decode(encoded)
    if isinstance(data, str):
        data = read_inner(data)
    if str(event.get("type", "")).startswith(GOOGLE):
        return [{"google": data, "type": event["type"], "bucket": event.get("bucket")}]
    if isinstance(data, list):
        return data
    if not isinstance(data, dict):
        raise Unreadable("CloudEvent 不含可识别的数据", "the CloudEvent holds no data that is known here")
    if isinstance(data.get("Records"), list):
        return data["Records"]
    if look(data, "specversion") is not None:
        raise Unreadable("CloudEvent 内嵌 CloudEvent", "a CloudEvent in a CloudEvent")
    return [data]


def _decode(encoded: str) -> Any:
    try:
        return read_inner(base64.b64decode(encoded, validate=True).decode())
    except ValueError:  # of the base64 or of the UTF-8 in it
        raise Unreadable("CloudEvent 的 data_base64 无法解码", "the CloudEvent's data_base64 is damaged") from None
