"""Validation messages: every kind of error that pydantic can find in our requests has words in both languages."""
from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from shared.api.http import endpoint
from shared.api.json_body import parse_object
from shared.errors import InvalidRequest
from shared.schema import Model
from shared.texts import Text
from shared.validation_messages import MAX_FIELDS, printable, validate


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    ratio: float = Field(1.0, gt=0, lt=1)


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    kind: Literal["a", "b"] = "a"
    either: str | list[int] | None = None
    inner: Inner = Inner(ratio=0.5)
    items: list[Inner] = []
    flag: bool = False


def messages(value: object, where: str = "") -> tuple[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        validate(Request, value, where)
    return caught.value.zh, caught.value.en


@pytest.mark.parametrize(("value", "zh", "en"), [
    ({}, "name 为必填字段", "name is required"),
    ({"name": 1}, "name 应为字符串", "name should be a string"),
    ({"name": "x", "kind": "c"}, "kind 应为以下值之一: 'a' 或 'b'", "kind should be one of: 'a' or 'b'"),
    ({"name": "x", "inner": {"ratio": 1}}, "inner.ratio 应小于 1.0", "inner.ratio should be less than 1.0"),
    ({"name": "x", "inner": []}, "inner 应为 JSON 对象", "inner should be a JSON object"),
    ({"name": "x", "items": [{}, {"y": 1}]}, "items[1].y 是未知字段", "items[1].y is not a known field"),
    ({"name": "x", "flag": 1}, "flag 应为 true 或 false", "flag should be true or false"),
    ({"name": "x", "either": 1.5}, "either 应为字符串 或 应为数组", "either should be a string or should be an array"),
])
def test_a_message_names_the_field_and_what_would_be_right(value: object, zh: str, en: str) -> None:
    assert messages(value) == (f"请求参数错误: {zh}", f"invalid request: {en}")


def test_an_unknown_field_is_told_the_known_ones() -> None:
    assert "name, kind, either, inner, items, flag" in messages({"name": "x", "nmae": "y"})[0]


def test_fields_inside_a_field_are_named_by_their_whole_path() -> None:
    assert "parameters.inner.ratio" in messages({"name": "x", "inner": {"ratio": "1"}}, "parameters")[0]
    assert messages([], "parameters")[0] == "请求参数错误: parameters 应为 JSON 对象"


def test_only_the_first_fields_are_told() -> None:
    zh, en = messages({"name": "x"} | {f"f{number}": 1 for number in range(100)})
    assert zh.count("是未知字段") == MAX_FIELDS and zh.endswith("另有 95 个字段错误")
    assert en.endswith("and 95 more fields")


@given(st.text(max_size=300))
def test_whatever_is_echoed_stays_on_one_line_and_is_short(text: str) -> None:
    shown = printable(text, 40)
    assert shown.isprintable() and len(shown) <= 41 * 10
    shown.encode()


@pytest.mark.unmeasured
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                                               lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))))
def test_no_object_whatever_is_more_than_a_bad_request(value: dict[str, object]) -> None:
    try:
        validate(Request, value)
    except InvalidRequest as error:
        assert error.zh.isprintable() and len(error.zh) < 2500
        error.zh.encode()


@given(st.binary(max_size=200))
def test_no_body_whatever_is_more_than_a_bad_request(body: bytes) -> None:
    try:
        assert isinstance(parse_object(body), dict)
    except InvalidRequest as error:
        assert error.zh.isprintable()


def test_a_function_that_returns_a_model_without_a_message_is_refused_when_it_is_made() -> None:
    class One(Model):
        pass

    class Two(Model):
        pass

    def choose() -> One | Two:
        return One()

    choose.__annotations__["return"] = One | Two
    with pytest.raises(TypeError, match="choose: no message for Two"):
        endpoint("POST", "/choose", title=Text("选", "choose"), scope="read", message={One: Text("一", "one")})(choose)
    with pytest.raises(TypeError, match=r"choose: no message for (One|Two)"):
        endpoint("POST", "/choose", title=Text("选", "choose"), scope="read", message=Text("一", "one"))(choose)
