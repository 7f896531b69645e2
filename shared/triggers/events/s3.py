"""S3's records, which MinIO, Ceph, RustFS and an old trigger of OBS write too, and Amazon's EventBridge."""
from __future__ import annotations

from typing import Any

from shared.triggers.events.fields import Arrived, arrived, look, metadata_of, need_text, not_an_arrival
from shared.triggers.events.names import both_ways, decoded, is_arrival

# Who certainly encodes keys as in a form. MinIO encodes "/" too, S3 does not.
ENCODED = {"minio:s3": "minio", "aws:s3": "s3"}
META = "x-amz-meta-"


def read_record(record: dict[str, Any]) -> Arrived:
    event = need_text(record, "eventName")
    bucket, spelled = need_text(record, "s3", "bucket", "name"), need_text(record, "s3", "object", "key")
    source = str(record.get("eventSource", ""))
    keys = (decoded(spelled),) if source in ENCODED else both_ways(spelled)
    plain = str(record.get("Key", ""))
    if plain.startswith(f"{bucket}/"):
        keys = tuple(dict.fromkeys((plain.removeprefix(f"{bucket}/"), *keys)))
    if not is_arrival(event):
        return not_an_arrival(event, bucket, keys[0])
    item = record["s3"]["object"]
    return arrived(bucket, keys, event=event, provider=_provider(record, source), version=item.get("versionId"),
                   etag=item.get("eTag"), size=item.get("size"), metadata=metadata_of(item.get("userMetadata"), META))


def _provider(record: dict[str, Any], source: str) -> str:
    if str(look(record, "s3", "bucket", "arn")).startswith("arn:fss:"):
        return "obs"
    return ENCODED.get(source, "s3")


def read_bare(body: dict[str, Any]) -> Arrived:
    """MinIO's body without records that could be used: its own two fields say all that is needed."""
    event = need_text(body, "EventName")
    bucket, _, key = need_text(body, "Key").partition("/")
    if not key or not is_arrival(event):
        return not_an_arrival(event, bucket, key)
    return arrived(bucket, (key,), event=event, provider="minio")


def read_eventbridge(body: dict[str, Any]) -> Arrived:
    """The documents do not tell how a key is encoded, and programs that write such events differ."""
    kind = need_text(body, "detail-type")
    if body.get("source") != "aws.s3":
        return not_an_arrival(kind, str(body.get("source")), "")
    bucket, keys = need_text(body, "detail", "bucket", "name"), both_ways(need_text(body, "detail", "object", "key"))
    if kind != "Object Created":
        return not_an_arrival(kind, bucket, keys[0])
    item = body["detail"]["object"]
    return arrived(bucket, keys, event=kind, provider="s3", version=item.get("version-id"), etag=item.get("etag"),
                   size=item.get("size"))
