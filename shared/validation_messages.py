"""Makes pydantic's errors into one message in both languages that names each wrong field."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import InvalidRequest
from shared.rules.bilingual import Bilingual

Model = TypeVar("Model", bound=BaseModel)

MAX_FIELDS = 5
MAX_NAME_CHARS = 80
MAX_DETAIL_CHARS = 200

# pydantic's error types (pydantic_core.core_schema.ErrorType) with their context as placeholders.
MESSAGES: dict[str, tuple[str, str]] = {
    "missing": ("为必填字段", "is required"),
    "string_type": ("应为字符串", "should be a string"),
    "string_unicode": ("应为有效的 Unicode 文本", "should be valid Unicode text"),
    "int_type": ("应为整数", "should be an integer"),
    "int_from_float": ("应为整数", "should be an integer"),
    "int_parsing": ("应为整数", "should be an integer"),
    "int_parsing_size": ("应为整数", "should be an integer"),
    "float_type": ("应为数字", "should be a number"),
    "finite_number": ("应为有限的数字", "should be a finite number"),
    "bool_type": ("应为 true 或 false", "should be true or false"),
    "list_type": ("应为数组", "should be an array"),
    "dict_type": ("应为 JSON 对象", "should be a JSON object"),
    "model_type": ("应为 JSON 对象", "should be a JSON object"),
    "none_required": ("应为 null", "should be null"),
    "string_too_short": ("长度应至少为 {min_length} 个字符", "should have at least {min_length} characters"),
    "string_too_long": ("长度应不超过 {max_length} 个字符", "should have at most {max_length} characters"),
    "too_short": ("应至少有 {min_length} 项", "should have at least {min_length} items"),
    "too_long": ("应不超过 {max_length} 项", "should have at most {max_length} items"),
    "greater_than": ("应大于 {gt}", "should be greater than {gt}"),
    "greater_than_equal": ("应大于或等于 {ge}", "should be at least {ge}"),
    "less_than": ("应小于 {lt}", "should be less than {lt}"),
    "less_than_equal": ("应小于或等于 {le}", "should be at most {le}"),
    "literal_error": ("应为以下值之一: {expected}", "should be one of: {expected}"),
    "string_pattern_mismatch": ("应匹配 {pattern}", "should match {pattern}"),
    "value_error": ("取值不正确: {error}", "is not right: {error}"),
    "bilingual": ("{zh}", "{en}"),
}


def printable(text: str, max_chars: int) -> str:
    """`text` on one line, cut, with everything escaped that does not print (CR, LF, NUL, bidi marks, surrogates)."""
    cut = text if len(text) <= max_chars else text[:max_chars] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _field_name(location: Sequence[int | str], where: str) -> str:
    """`task_ids[0]`, `parameters.verify.samples`; without the tags that pydantic adds for unions and dict keys."""
    name = where
    for position, part in enumerate(location):
        if isinstance(part, int):
            name += f"[{part}]"
        elif not (position and (part in ("str", "int", "float", "bool") or set(part) & set("[("))):
            name += f".{part}" if name else part
    return printable(name, MAX_NAME_CHARS)


def _describe(error: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        if len(error["loc"]) > 1:
            return "是未知字段", "is not a known field"
        known = ", ".join(model.model_fields)
        return f"是未知字段, 可用字段: {known}", f"is not a known field; there are: {known}"
    if kind not in MESSAGES:
        return f"取值不正确: {error['msg']}", f"is not right: {error['msg']}"
    zh, en = MESSAGES[kind]
    return (zh.format_map(context).replace(" or ", " 或 ") if kind == "literal_error" else zh.format_map(context),
            en.format_map(context))


def to_invalid_request(error: ValidationError, model: type[BaseModel], where: str = "") -> InvalidRequest:
    """All of pydantic's errors as one message; the alternatives of a union are joined by `or`."""
    fields: dict[str, tuple[list[str], list[str]]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        zh, en = (printable(text, MAX_DETAIL_CHARS) for text in _describe(detail, model))
        of_zh, of_en = fields.setdefault(_field_name(detail["loc"], where), ([], []))
        if zh not in of_zh:
            of_zh.append(zh)
            of_en.append(en)
    shown = list(fields.items())[:MAX_FIELDS]
    rest = len(fields) - len(shown)
    zh = "; ".join(f"{name or '请求体'} {' 或 '.join(of_zh)}" for name, (of_zh, _) in shown)
    en = "; ".join(f"{name or 'the body'} {' or '.join(of_en)}" for name, (_, of_en) in shown)
    return InvalidRequest(f"请求参数错误: {zh}" + (f"; 另有 {rest} 个字段错误" if rest else ""),
                          f"invalid request: {en}" + (f"; and {rest} more fields" if rest else ""))


def describe_errors(error: ValidationError, model: type[BaseModel], but: Collection[str] = ()
                    ) -> list[tuple[tuple[str | int, ...], Bilingual]]:
    """Each error's place and its text, for files that people write; `but` errors of these types."""
    return [(detail["loc"], Bilingual(*(printable(text, MAX_DETAIL_CHARS) for text in _describe(detail, model))))
            for detail in error.errors(include_url=False, include_input=False) if detail["type"] not in but]


def validate(model: type[Model], value: Any, where: str = "") -> Model:
    """`value` as a `model`; `where` names the field that holds it.

    Raises:
        InvalidRequest: `value` does not fit the model.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise to_invalid_request(error, model, where) from error
