"""The spellings of `input_shape`, as one normal form."""
from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from shared.rules.shapes import ANY_INPUT
from shared.schema import NO_NUL

MAX_DIMENSIONS = 16


def _dimensions(values: list[Any]) -> list[int]:
    if not 1 <= len(values) <= MAX_DIMENSIONS:
        raise ValueError(f"a shape has 1 to {MAX_DIMENSIONS} dimensions")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
            raise ValueError(f"a dimension is a whole number from 1 to 2147483647, not {value!r}")
    return list(values)


def _parse_text(text: str) -> list[int]:
    try:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isascii() and part.isdigit() for part in parts):  # int() takes 1_0 and digits of other scripts
            raise ValueError("a dimension is written in digits")
        return _dimensions([int(part) for part in parts])
    except ValueError as error:
        raise ValueError(f'{text!r} is not a shape like "1,3,640,640": {error}') from error


def parse_input_shape(value: str | list[int] | dict[str, list[int]] | None) -> dict[str, list[int]]:
    """`{input name: dimensions}`; the name is `ANY_INPUT` where none was given (a model with one input).

    `"1,3,640,640"`, `"images:1,3,640,640"`, `"a:1,3;b:1,5"`, `[1, 3, 640, 640]`, `{"images": [1, 3, 640, 640]}`.
    An input's name may itself contain colons; the last one separates.

    Raises:
        ValueError: no spelling of a shape.
    """
    if value is None:
        return {}
    if isinstance(value, list):
        return {ANY_INPUT: _dimensions(value)}
    if isinstance(value, dict):
        if not value:
            raise ValueError("names no input")
        return {name: _dimensions(dimensions) for name, dimensions in value.items()}
    shapes: dict[str, list[int]] = {}
    for part in value.split(";"):
        name, _, dimensions = part.strip().rpartition(":")
        if name in shapes:
            raise ValueError(f"names the input {name!r} twice")
        shapes[name] = _parse_text(dimensions)
    if len(shapes) > 1 and ANY_INPUT in shapes:
        raise ValueError("with several inputs each needs its name")
    return shapes


def _check(value: Any) -> Any:
    parse_input_shape(value)
    return value


_CHAR = r"[^;\x00]"
_DIMENSION = r" *0{0,8}([1-9][0-9]{0,8}|1[0-9]{9}) *"  # up to 1,999,999,999
_DIMENSIONS = rf"{_DIMENSION}(,{_DIMENSION}){{0,{MAX_DIMENSIONS - 1}}}"
_NAMED = rf"[^;\s\x00-\x1f]+:{_DIMENSIONS}"
_LIST = {"type": "array", "minItems": 1, "maxItems": MAX_DIMENSIONS,
         "items": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}}
_TEXTS = {
    "type": "string", "pattern": rf"^(({_CHAR}*:)?{_DIMENSIONS}|{_NAMED}(;{_NAMED})+)$",
    "not": {"pattern": r"(^|;)([^;]*):[^:;]*;([^;]*;)*\2:[^:;]*(;|$)"}}  # names an input twice
InputShape = Annotated[
    str | list[int] | dict[str, list[int]], AfterValidator(_check),
    WithJsonSchema({
        "anyOf": [_TEXTS, _LIST, {
            "type": "object", "minProperties": 1, "propertyNames": NO_NUL, "additionalProperties": _LIST}],
        "description": '"1,3,640,640", "images:1,3,640,640" (several separated by ;), a list or {input: list}',
        "examples": ["1,3,640,640", "images:1,3,640,640", [1, 3, 640, 640]]})]
