"""What the readers of the makers' records share: what they answer, and how they look into unchecked JSON."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.texts import Text
from shared.triggers.objects import StoredObject
from shared.validation_messages import printable

MAX_METADATA = 64
_NAME_CHARS = 1100  # a path has 1024 bytes at most


class Unreadable(Exception):
    """A record that lacks what its form promises; `text` says what."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.text = Text(zh, en)


@dataclass(frozen=True)
class Arrived:
    """What one record tells. `objects` is one object, likeliest first where the record does not tell how its key is
    encoded; or it is empty, and `ignored` says why. `name` is what the record is about, for logs and answers."""

    objects: tuple[StoredObject, ...] = ()
    ignored: Text | None = None
    name: str = ""


@dataclass(frozen=True)
class Subscription:
    """A maker's topic asks whether it may send its messages here: yes is a GET of `url`."""

    topic: str
    url: str


def look(record: Any, *path: str) -> Any:
    """The value at this path of names; None where there is none."""
    for name in path:
        record = record.get(name) if isinstance(record, dict) else None
    return record


def need_text(record: Any, *path: str) -> str:
    """The text at this path.

    Raises:
        Unreadable: there is none, or an empty one.
    """
    value = look(record, *path)
    if not isinstance(value, str) or not value:
        where = ".".join(path)
        raise Unreadable(f"通知记录缺少 {where}", f"the record lacks {where}")
    return value


def text_of(value: Any) -> str | None:
    """A text or a whole number as text; None for what is neither, and for an empty text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def size_of(value: Any) -> int | None:
    """Some makers write sizes as text."""
    text = text_of(value)
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None


def etag_of(value: Any) -> str | None:
    text = text_of(value)
    return text.strip('"').lower() or None if text else None


def version_of(value: Any) -> str | None:
    """`null` is S3's name for the only version of an unversioned object."""
    text = text_of(value)
    return None if text is None or text == "null" else text


def metadata_of(value: Any, prefix: str) -> dict[str, str]:
    """The user's own metadata: names in lower case and without the maker's prefix. What has no prefix is not theirs."""
    found: dict[str, str] = {}
    for name, text in value.items() if isinstance(value, dict) else ():
        lower = name.lower()
        if lower.startswith(prefix) and isinstance(text, str) and len(found) < MAX_METADATA:
            found[lower.removeprefix(prefix)] = text
    return found


def shown(*parts: str) -> str:
    """What a record is about, as text that logs and answers may hold."""
    return printable("/".join(parts), _NAME_CHARS)


def arrived(bucket: str, keys: tuple[str, ...], *, event: str, provider: str, version: Any = None,
            etag: Any = None, size: Any = None, metadata: Mapping[str, str] | None = None) -> Arrived:
    """The object of a record, under each way to read its key."""
    name = shown(bucket, keys[0])
    if any(key.endswith("/") for key in keys):
        return Arrived(ignored=Text("文件夹标记", "the mark of a folder"), name=name)
    return Arrived(tuple(StoredObject(bucket, key, version_of(version), etag_of(etag), size_of(size), metadata or {},
                                      provider) for key in keys), name=name)


def not_an_arrival(event: str, bucket: str, key: str) -> Arrived:
    what = shown(event)
    return Arrived(ignored=Text(f"{what} 不是新对象的通知", f"{what} tells of no new object"), name=shown(bucket, key))
