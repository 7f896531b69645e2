"""What an object itself asks for, over its rule: its metadata, and then a sidecar beside it."""
from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any

from pydantic import Field, ValidationError

from shared.documents import Priority
from shared.errors import InvalidRequest, NotFound
from shared.files import FileInfo, Files
from shared.rules.bilingual import Bilingual, as_it_is
from shared.schema import CallbackText, JsonObject, Labels, Name, StrictModel
from shared.triggers import reasons
from shared.validation_messages import printable, to_invalid_request

SIDECARS = (".toml", ".json")  # after the model's whole name; the first that is there counts
MAX_SIDECAR_BYTES = 64 << 10
_IN_JSON = ("parameters", "labels")


class Wishes(StrictModel):
    """Every field is optional. Where an object may be written says nothing of where results may go, so that stays the
    rule's."""

    platform: Name | None = None
    task_type: Name | None = None
    parameters: JsonObject = Field(default_factory=dict)
    priority: Priority | None = None
    labels: Labels = Field(default_factory=dict)
    callback_url: CallbackText | None = None

    def over(self, other: Wishes) -> Wishes:
        """Both together; what this one names counts. Another target's parameters are not this one's.

        Raises:
            NotUsable: together they are too much.
        """
        told = self.model_dump(exclude_unset=True)
        kept = other.model_dump(exclude_unset=True)
        same = self.platform is None or self.platform == other.platform
        parameters = (other.parameters if same else {}) | self.parameters
        if not same and self.task_type is None:
            kept.pop("task_type", None)
        try:
            return Wishes.model_validate(kept | told | {"parameters": parameters, "labels": other.labels | self.labels})
        except ValidationError as error:
            raise NotUsable(reasons.TOO_MUCH(why=_bilingual(to_invalid_request(error, Wishes)))) from error


class NotUsable(Exception):
    """What the object asks for cannot be read."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text


def sidecar_of(key: str) -> str | None:
    """The model that the object of this name would describe; None where it is no sidecar's name."""
    return next((key.removesuffix(suffix) for suffix in SIDECARS if key.endswith(suffix)), None)


def read_metadata(metadata: Mapping[str, str]) -> Wishes:
    """`platform`, `task-type`, `parameters` and `labels` as JSON, `priority`, `callback-url`; other names are not ours.

    Raises:
        NotUsable.
    """
    values: dict[str, Any] = {}
    for name in Wishes.model_fields:
        value = metadata.get(name.replace("_", "-"), metadata.get(name))
        if value is None:
            continue
        try:
            value = _decoded(value)
            values[name] = json.loads(value) if name in _IN_JSON else value
        except (ValueError, RecursionError) as error:
            why = as_it_is(printable(str(error), 200))
            raise NotUsable(reasons.BAD_METADATA(name=name.replace("_", "-"), why=why)) from error
    try:
        return Wishes.model_validate(values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0]).replace("_", "-")
        raise NotUsable(reasons.BAD_METADATA(name=name, why=_bilingual(to_invalid_request(error, Wishes)))) from error


def _decoded(value: str) -> str:
    """A header of S3 holds ASCII; other text is encoded as RFC 2047 has it.

    Source: Amazon S3, "Working with object metadata".

    Raises:
        ValueError: it is encoded, and damaged.
    """
    try:
        return str(make_header(decode_header(value))) if "=?" in value else value
    except (HeaderParseError, LookupError) as error:  # damaged base64, or an encoding that is none
        raise ValueError(str(error)) from error


def read_sidecar(files: Files, info: FileInfo) -> Wishes:
    """Raises NotUsable, Unavailable."""
    try:
        if info.size_bytes > MAX_SIDECAR_BYTES:
            raise NotUsable(reasons.BAD_SIDECAR(path=info.path, why=Bilingual(
                f"不得超过 {MAX_SIDECAR_BYTES >> 10} KiB", f"it should be at most {MAX_SIDECAR_BYTES >> 10} KiB")))
        _, content = files.read_range(info.path, 0, MAX_SIDECAR_BYTES)
        text = content.decode("utf-8-sig")
        values = tomllib.loads(text) if info.path.endswith(".toml") else json.loads(text)
        return Wishes.model_validate(values)
    except ValidationError as error:
        why = _bilingual(to_invalid_request(error, Wishes))
        raise NotUsable(reasons.BAD_SIDECAR(path=info.path, why=why)) from error
    except NotFound as error:
        raise NotUsable(reasons.BAD_SIDECAR(path=info.path, why=_bilingual(error))) from error
    except (ValueError, RecursionError) as error:  # UTF-8, TOML and JSON alike
        why = as_it_is(printable(str(error), 200))
        raise NotUsable(reasons.BAD_SIDECAR(path=info.path, why=why)) from error


def _bilingual(error: InvalidRequest | NotFound) -> Bilingual:
    return Bilingual(error.zh, error.en)
