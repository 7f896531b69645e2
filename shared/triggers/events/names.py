"""Which events tell of a new object, and how keys are spelled in them."""
from __future__ import annotations

from urllib.parse import unquote_plus

from shared.triggers.events.fields import Unreadable

# After the last colon of an event's name, in lower case. What only changes tags, retention or a lock is none of them,
# though MinIO sends it under ObjectCreated too. COS wrote * once.
ARRIVALS = frozenset({"put", "putobject", "post", "postobject", "copy", "copyobject", "completemultipartupload", "*"})


def is_arrival(name: str) -> bool:
    """Of `s3:ObjectCreated:Put`, `ObjectCreated:Put`, `cos:ObjectCreated:Put`, `OBS:DWR:ObjectCreated:PUT`, …"""
    *rest, last = name.casefold().split(":")
    return "objectcreated" in rest and last in ARRIVALS


def decoded(key: str) -> str:
    """A key that is encoded as in a form: `+` is a space, and `%2B` a plus.

    Raises:
        Unreadable: it is no UTF-8 then.
    """
    try:
        return unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise Unreadable("对象名不是有效的 UTF-8", "the object's key is no UTF-8") from None


def both_ways(key: str) -> tuple[str, ...]:
    """As it stands, then decoded: where the maker does not tell which it is."""
    try:
        other = decoded(key)
    except Unreadable:
        return (key,)
    return (key,) if other == key else (key, other)
