"""What documents, requests and declarations are made of: the base models and the kinds of text a client may send."""
from __future__ import annotations

import math
import re
from itertools import islice
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from shared.times import parse_time

MAX_DIGITS = 16  # of a number in a query string or a header
MAX_DEPTH = 8  # of what a client nests in `parameters`
MAX_JSON_BYTES = 64 << 10  # of `parameters`: they are in the task's document, and in every list that shows it
_SCALAR_BYTES = 8
MAX_TEXT_CHARS, MAX_ITEMS = 256, 256  # of what a document quotes from a model


# Models are built at their first use: a function imports many and uses few, and its cold start counts.
class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class StrictModel(BaseModel):
    """What a client sends: no coercion (`"1"` is not a number, `true` is not 1)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


def wrong(zh: str, en: str) -> PydanticCustomError:
    """What a validator raises, in both languages, as a phrase that follows the field's name."""
    return PydanticCustomError("bilingual", "{en}", {"zh": zh, "en": en})


def _storable(value: str) -> str:
    """Strings that every store can hold: no NUL, no lone surrogates."""
    if "\0" in value:
        raise wrong("不得含有 NUL 字符", "must not contain NUL")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong("应为有效的 Unicode 文本", "should be valid Unicode text") from None
    return value


def _storable_json(value: Any) -> Any:
    _check_json(value, MAX_JSON_BYTES, 0)
    return value


def _check_json(value: Any, left: int, depth: int) -> int:
    """How many of the bytes that are left `value` leaves; it is not looked at beyond them."""
    if depth > MAX_DEPTH:
        raise wrong(f"嵌套不得超过 {MAX_DEPTH} 层", f"must not be nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str):
        left -= len(_storable(value).encode())
    elif isinstance(value, dict):
        for key, item in value.items():
            left = _check_json(item, left - len(_storable(key).encode()), depth + 1)
    elif isinstance(value, list):
        for item in value:
            left = _check_json(item, left, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise wrong("整数应在 64 位以内", "integers should fit in 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise wrong("数字应为有限值", "numbers should be finite")
    left -= _SCALAR_BYTES
    if left < 0:
        raise wrong(f"不得超过 {MAX_JSON_BYTES >> 10} KiB", f"should be at most {MAX_JSON_BYTES >> 10} KiB")
    return left


def shorten(value: Any) -> Any:
    """JSON whose strings, names included, have at most `MAX_TEXT_CHARS` each, and its lists and objects at most
    `MAX_ITEMS` items: what a model says about itself is stored, shown and listed, and not trusted."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT_CHARS else value[:MAX_TEXT_CHARS - 1] + "…"
    if isinstance(value, dict):
        return {shorten(name): shorten(item) for name, item in islice(value.items(), MAX_ITEMS)}
    if isinstance(value, list):
        return [shorten(item) for item in value[:MAX_ITEMS]]
    return value


# As RFC 3339 has them; besides, a time may lack its offset (then it is UTC), its seconds, or be a date alone. A day is
# one that its month has, of its year.
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DAY = (r"([0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
        rf"|{_LEAP_YEAR}-02-29)")
TIME = rf"^(?!0000){_DAY}([Tt ]{_CLOCK}(:[0-5][0-9]([.][0-9]+)?)?([Zz]|[+-]{_CLOCK})?)?$"

def _time(value: str) -> str:
    try:
        if not re.fullmatch(TIME, value):
            raise ValueError("of another form")
        parse_time(value)
    except (ValueError, OverflowError):
        raise wrong("应为 ISO 8601 时间, 如 2024-01-01T12:00:00 (UTC)",
                    "should be an ISO 8601 time such as 2024-01-01T12:00:00 (UTC)") from None
    return value


def _digits(value: Any) -> Any:
    """A number in a query string. `int` would also take `1_0`, ` 1`, `+1` and the digits of other scripts."""
    if isinstance(value, str):
        if not re.fullmatch(f"-?[0-9]{{1,{MAX_DIGITS}}}", value):
            raise wrong("应为整数", "should be an integer")
        return int(value)
    return value


def exactly_one(**kinds: str) -> dict[str, Any]:
    """For a model's schema: one of these fields is there, each of this JSON type, and of the others none is."""
    return {"oneOf": [{"required": [name], "properties": {name: {"type": kind}}} for name, kind in kinds.items()]}


_STORABLE = AfterValidator(_storable)
NO_NUL = {"pattern": r"^[^\x00]*$"}

TaskIdText = Annotated[str, Field(min_length=1, max_length=128, examples=["task_1234567890_1234"],
                                   json_schema_extra=NO_NUL), _STORABLE]
# Without look-ahead: programs that make texts after a pattern, as tests of an API do, know none. The messages tell what
# these patterns leave out of the rules of `shared.files.paths`: lengths in bytes.
_NOT_IN_PART = r"/\\\x00-\x1f\x7f-\x9f\u2028\u2029"
_CHAR, _NO_DOT = rf"[^{_NOT_IN_PART}]", rf"[^.{_NOT_IN_PART}]"
_PART = rf"({_NO_DOT}{_CHAR}{{0,254}}|[.]{_NO_DOT}{_CHAR}{{0,253}}|[.][.]{_CHAR}{{1,253}})"  # neither "." nor ".."
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_BUCKET = rf"([a-z0-9][a-z0-9-]{{1,61}}[a-z0-9]|[a-z0-9]{{1,2}}[.]{_LABEL})([.]{_LABEL})*"
# Percent-encoded separators, control characters, and bytes above 0x7f, which may be no UTF-8; parts that are encoded
# dots.
_ENCODED = "%(25)*([0189a-fA-F][0-9a-fA-F]|2[fF]|5[cC]|7[fF])|(^|/)([.]|%(25)*2[eE]){1,2}(/|$)"
_RESERVED = ("^([^/]{64,}/|minio/|xn--|sthree-|amzn-s3-demo-|[0-9]+([.][0-9]+){3}/"
             "|[^/]*(-s3alias|--ol-s3|[.]mrap|--x-s3|--table-s3)/)")
_PATH = {"not": {"pattern": f"{_RESERVED}|{_ENCODED}"}}
PathText = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra={
    "pattern": rf"^(/|{_BUCKET}/){_PART}(/{_PART})*$"} | _PATH), _STORABLE]
# Of an object or of a prefix, which may end in a slash.
PLACE, ABSOLUTE_PLACE = (rf"^{start}{_PART}(/{_PART})*/?$" for start in (f"{_BUCKET}/", f"(/|{_BUCKET}/)"))
PlaceText = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra={"pattern": ABSOLUTE_PLACE} | _PATH)]
Name = Annotated[str, Field(min_length=1, max_length=64, json_schema_extra=NO_NUL), _STORABLE]
# The upload's own folder, and its tenant's, stand before it in a key of 1024 bytes.
UploadName = Annotated[str, Field(min_length=1, max_length=900, json_schema_extra={
    "pattern": rf"^{_PART}(/{_PART})*$", "not": {"pattern": _ENCODED}}), _STORABLE]
UploadIdText = Annotated[str, Field(min_length=1, max_length=128, json_schema_extra=NO_NUL,
                                    examples=["upload_1234567890_0123456789abcdef0123456789abcdef"]), _STORABLE]
FileName = Annotated[str, Field(min_length=1, max_length=255, json_schema_extra=NO_NUL), _STORABLE]
KeyText = Annotated[str, Field(min_length=1, max_length=128, json_schema_extra=NO_NUL), _STORABLE]
# What else it has to be `shared.announcements.urls` says, with the settings.
CallbackText = Annotated[str, Field(min_length=1, max_length=2048, json_schema_extra={"format": "uri"}), _STORABLE]
LabelKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
LabelValue = Annotated[str, Field(max_length=256, json_schema_extra=NO_NUL), _STORABLE]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=16, json_schema_extra={"additionalProperties": False})]
JsonObject = Annotated[dict[str, Any], AfterValidator(_storable_json)]
TimeText = Annotated[str, Field(max_length=40, json_schema_extra={"pattern": TIME}),
                     AfterValidator(_time), _STORABLE]
QueryNumber = Annotated[int, BeforeValidator(_digits)]

GroupIdText = Annotated[str, Field(min_length=1, max_length=128, examples=["group_1234567890_1234567890"],
                                    json_schema_extra=NO_NUL), _STORABLE]
TaskIds = Annotated[list[TaskIdText], Field(min_length=1, max_length=1000,
                                             examples=[["task_1234567890_1234", "task_1234567890_5678"]])]
