"""Between our models and what MongoDB can hold.

Free text serves as keys in `parameters` and `result` (a model's outputs have any name). MongoDB before 5.0, and other
servers that speak its protocol, refuse `.` and a leading `$` there, and none takes NUL: those are percent-encoded.
"""
from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

FORBIDDEN = re.compile(r"[%.\0]|^\$")
ENCODED = re.compile(r"%([0-9A-F]{2})")
_PLAIN = frozenset((str, int, float, bool, type(None)))


def to_document(model: BaseModel) -> dict[str, Any]:
    """Its `id` becomes `_id`; an `idempotency_key` of None is left out, since a sparse index holds null too."""
    fields = encode(model.model_dump())
    if fields.get("idempotency_key", "") is None:
        del fields["idempotency_key"]
    return {"_id": fields.pop("id"), **fields}


def from_document(document: dict[str, Any]) -> dict[str, Any]:
    """The fields that `to_document` was given."""
    fields = decode(document)
    return {"id": fields.pop("_id"), **fields}


def stage_keys_of(document: dict[str, Any]) -> list[str]:
    """The keys of its recorded stages. A document that somebody has spoilt may have none."""
    stages = document.get("stages")
    return [stage["key"] for stage in stages if isinstance(stage, dict) and isinstance(stage.get("key"), str)
            ] if isinstance(stages, list) else []


def encode(value: Any) -> Any:
    """The value with every key made one that MongoDB takes."""
    if isinstance(value, dict):
        return {_encoded(key): item if type(item) in _PLAIN else encode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [encode(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def decode(value: Any) -> Any:
    if isinstance(value, dict):
        return {_decoded(key): item if type(item) in _PLAIN else decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return int(value) if type(value).__name__ == "Int64" else value  # bson's own subclass of int


# Nearly all keys are the names of our own fields.
@lru_cache(4096)
def _encoded(key: str) -> str:
    return FORBIDDEN.sub(lambda found: f"%{ord(found[0]):02X}", key)


@lru_cache(4096)
def _decoded(key: str) -> str:
    return ENCODED.sub(lambda found: chr(int(found[1], 16)), key)
