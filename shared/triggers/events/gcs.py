"""Google Cloud Storage: the data of Eventarc's CloudEvents, a resource of its JSON API."""
from __future__ import annotations

import base64
from typing import Any

from shared.triggers.events.fields import Arrived, arrived, look, metadata_of, need_text, not_an_arrival, text_of


def read_object(record: dict[str, Any]) -> Arrived:
    """The key is raw. `etag` is opaque; the one that S3's interface tells is the MD5."""
    data, kind = record["google"], need_text(record, "type")
    bucket = text_of(look(data, "bucket")) or need_text(record, "bucket")
    key = need_text(data, "name")
    if not kind.endswith(".finalized"):
        return not_an_arrival(kind, bucket, key)
    return arrived(bucket, (key,), event=kind, provider="gcs", version=data.get("generation"),
                   etag=_hex(data.get("md5Hash")), size=data.get("size"),
                   metadata=metadata_of(data.get("metadata"), ""))


def _hex(encoded: Any) -> str | None:
    try:
        return base64.b64decode(encoded, validate=True).hex() if isinstance(encoded, str) else None
    except ValueError:  # binascii's own, and a plain one for what is no ASCII
        return None
