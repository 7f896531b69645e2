"""What holds for every target's declaration, whatever the target."""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.documents import Task
from shared.errors import InvalidRequest
from shared.platforms import get_platforms
from shared.platforms.base import CommonParameters, Platform
from shared.settings import Settings
from shared.validation_messages import validate
from worker.plan import Plan, get_plans
from worker.stages.common import ONNX

PLATFORMS = list(get_platforms().values())
every_target = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda platform: platform.name)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2**40, 2**40) | st.text(max_size=12)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8)


def build(platform: Platform, parameters: dict[str, Any], task_type: str | None = None) -> Task:
    (task,) = build_tasks(validate(CreateTask, {
        "task_type": task_type or platform.task_types[0], "platform": platform.name,
        "input_path": f"models/in{platform.input_suffixes[0]}", "parameters": parameters}), Settings())
    return task


def undescribed(schema: dict[str, Any]) -> Iterator[str]:
    """The properties that neither have a description nor are of a model, or in one of several forms, that has one."""
    models = {"": schema} | schema.get("$defs", {})
    for model, about in models.items():
        for name, field in about.get("properties", {}).items():
            forms = [field, *field.get("anyOf", [])]
            referred = [models[form["$ref"].rpartition("/")[2]] for form in forms if "$ref" in form]
            if not any(form.get("description") for form in forms + referred):
                yield f"{model}.{name}".lstrip(".")


@every_target
def test_its_example_makes_a_valid_task_for_each_of_its_task_types(platform: Platform) -> None:
    for task_type in platform.task_types:
        task = build(platform, platform.example, task_type)
        assert task.output_path.endswith(platform.artefact_suffix)
        assert task.parameters.items() >= {
            name: value for name, value in platform.example.items() if not isinstance(value, dict)}.items()


@every_target
def test_the_stored_parameters_are_valid_again_and_unchanged(platform: Platform) -> None:
    stored = build(platform, platform.example).parameters
    assert build(platform, stored).parameters == stored


@every_target
def test_its_schema_describes_every_parameter(platform: Platform) -> None:
    schema = platform.parameters.model_json_schema()
    assert len(schema["properties"]) >= len(CommonParameters.model_fields)
    assert list(undescribed(schema)) == []


@every_target
def test_whatever_is_left_out_or_put_in_its_place_is_taken_or_refused_in_both_languages(platform: Platform) -> None:
    names = sorted({*platform.parameters.model_fields, *platform.example})

    @settings(max_examples=150, deadline=None)
    @given(st.sets(st.sampled_from(names)), st.dictionaries(st.sampled_from([*names, "unknown"]), json_values,
                                                            max_size=3))
    def check(left_out: set[str], changed: dict[str, Any]) -> None:
        kept = {name: value for name, value in platform.example.items() if name not in left_out}
        try:
            stored = build(platform, kept | changed).parameters
        except InvalidRequest as error:
            assert error.zh.startswith("请求参数错误") or " 无效" in error.zh
            assert error.en and error.zh != error.en
        else:
            assert build(platform, stored).parameters == stored

    check()


@every_target
def test_every_parameter_of_its_own_is_read_by_a_stage_and_its_stages_read_parameters_that_there_are(
        platform: Platform) -> None:
    plan: Plan = get_plans()[platform.name]
    special = {*platform.parameters.model_fields} - {*CommonParameters.model_fields}
    read = {name for stage in plan.stages for name in stage.parameters}
    read |= {stage.only_for[0] for stage in plan.stages if stage.only_for}
    own = {name for stage in plan.stages if not stage.common for name in stage.parameters}
    # A target may have `chip` as another name of an option of its tool; the worker itself reads `auto_time_s`.
    assert special - read <= {"chip", "auto_time_s"}
    assert own - {*platform.parameters.model_fields} <= {"output_name"}  # which the worker itself adds


@every_target
@pytest.mark.parametrize(("parameters", "words"), [
    ({"inputs": ["a", "a"]}, "inputs names a tensor twice"), ({"outputs": []}, "should have at least 1 items"),
    ({"fixed_inputs": {}}, "should have at least 1 items"), ({"fixed_inputs": {"a": "x"}}, "fixed_inputs.a"),
    ({"fixed_inputs": {"a": [[1], [2, 3]]}}, "lists of these of equal lengths"),
    ({"fixed_inputs": {"a": []}}, "lists of these of equal lengths"),
    ({"fixed_inputs": {"a": [None]}}, "lists of these of equal lengths"),
    ({"fixed_inputs": {"a": 1}, "inputs": ["a"]}, "both name a")])
def test_what_is_wrong_with_fixed_inputs_and_cuts_is_told(platform: Platform, parameters: dict[str, Any],
                                                          words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build(platform, platform.example | parameters)
    assert words in caught.value.en and "parameters" in caught.value.en


@every_target
def test_fixed_values_keep_their_types(platform: Platform) -> None:
    fixed = {"sr": 16000, "flag": True, "state": [[0.5, 1]], "mask": [[True], [False]]}
    stored = build(platform, platform.example | {"fixed_inputs": fixed, "outputs": ["y"]}).parameters
    assert repr(stored["fixed_inputs"]) == repr(fixed) and stored["outputs"] == ["y"] and stored["inputs"] is None


@every_target
def test_its_stages_come_in_an_order_that_can_run_in_environments_that_there_are(platform: Platform) -> None:
    plan: Plan = get_plans()[platform.name]
    done: set[str] = set()
    for stage in plan.stages_for(build(platform, platform.example).parameters):
        assert set(stage.inputs) <= done and stage.name not in done
        assert stage.environment in ("core", ONNX.name, plan.environment.name)
        done.add(stage.name)
    assert bool(plan.environment.requirements) != bool(plan.environment.locate)


def test_a_description_that_is_missing_is_found() -> None:
    schema = {"properties": {"a": {"type": "string"}, "b": {"$ref": "#/$defs/B"}, "c": {"description": "c"},
                             "d": {"anyOf": [{"type": "string", "description": "d"}, {"type": "null"}]}},
              "$defs": {"B": {"description": "b", "properties": {"inner": {"type": "integer"}}}}}
    assert sorted(undescribed(schema)) == ["B.inner", "a"]


def test_no_two_targets_share_a_task_type() -> None:
    seen: set[str] = set()
    for platform in PLATFORMS:
        assert seen.isdisjoint(platform.task_types)
        seen |= set(platform.task_types)


def descriptions(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(descriptions, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["description"]} if isinstance(schema.get("description"), str) else set()
    return own.union(*map(descriptions, schema.values()))


def test_every_description_of_a_parameter_has_its_chinese_and_no_other_has() -> None:
    in_use = set()
    for platform in get_platforms().values():
        english = descriptions(platform.parameters.model_json_schema())
        assert english <= platform.descriptions_zh.keys(), platform.name
        in_use |= english
    for platform in get_platforms().values():
        assert platform.descriptions_zh.keys() <= in_use, platform.name
        assert all(re.search("[\u4e00-\u9fff]", chinese) for chinese in platform.descriptions_zh.values())
