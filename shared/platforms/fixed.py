"""How a client writes `fixed_inputs`: a value, or lists of values of the input's shape."""
from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from shared.rules.fixed import dimensions_of
from shared.schema import wrong


def _check(value: Any) -> Any:
    if isinstance(value, list) and dimensions_of(value) is None:
        raise wrong("应为 true, false, 数字, 或由它们组成的各维长度一致的数组",
                    "should be true, false, a number, or lists of these of equal lengths")
    return value


FixedInputs = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=512)],
         Annotated[bool | int | float | list[Any], AfterValidator(_check)]], Field(min_length=1, max_length=64)]
