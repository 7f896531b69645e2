"""How a client writes `fixed_inputs`: a value, or lists of values of the input's shape."""
from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from shared.rules.fixed import dimensions_of
from shared.schema import NO_NUL, wrong


def _check(value: Any) -> Any:
    if isinstance(value, list) and dimensions_of(value) is None:
        raise wrong("应为 true, false, 数字, 或由它们组成的各维长度一致的数组",
                    "should be true, false, a number, or lists of these of equal lengths")
    return value


_ONE = {"type": ["boolean", "number"]}


def _lists(depth: int) -> dict[str, Any]:
    """Of lists in lists a schema cannot say that they are of equal lengths; it tells those in a list of one."""
    flat = {"type": "array", "minItems": 1, "items": _ONE}
    if depth == 1:
        return flat
    return {"anyOf": [flat, {"type": "array", "minItems": 1, "maxItems": 1, "items": _lists(depth - 1)}]}


FixedInputs = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=512)],
         Annotated[bool | int | float | list[Any], AfterValidator(_check)]], Field(min_length=1, max_length=64),
    WithJsonSchema({"type": "object", "minProperties": 1, "maxProperties": 64,
                    "propertyNames": {"minLength": 1, "maxLength": 512} | NO_NUL,
                    "additionalProperties": {"anyOf": [_ONE, _lists(4)]}})]
