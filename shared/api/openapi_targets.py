"""What `CreateTask` and `build_tasks` check of targets, as JSON Schema: the models do not know the declared targets."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from shared.platforms import get_platforms
from shared.platforms.base import Platform
from shared.settings import Settings

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}


def tell_targets(components: dict[str, Schema], settings: Settings) -> None:
    """Extend the schemas of requests for conversions, if they are there: one target or several, with the task types,
    the names of models and the parameters that belong to each."""
    choices: list[Schema] = []
    alternatives: list[Schema] = []
    each_target: list[Schema] = []
    beginning = "" if settings.local_roots else "^[^/].*"  # else no absolute path is taken
    output = {"output_path": {"pattern": beginning}}
    for platform in get_platforms().values():
        pair = {"platform": {"const": platform.name}, "task_type": {"enum": list(platform.task_types)}} | output
        model = {"input_path": {"pattern": beginning + _ending(platform.input_suffixes)}}
        parameters = components.get(platform.parameters.__name__, {})
        choices.append({"properties": pair})
        alternatives.append(
            {"title": platform.name, "required": ["platform", "task_type", *_parameters_if(parameters)],
             "properties": pair | model | {"targets": NULL, "parameters": _ref(platform)}})
        each_target.append({"anyOf": [
            {"properties": {"targets": {"items": _other_than(platform)}}},
            {"properties": model, "anyOf": list(_divided(platform, parameters))}]})
    several = {"title": "targets", "required": ["targets"], "allOf": each_target, "properties": {
        "targets": {"type": "array"}, **dict.fromkeys(("platform", "task_type", "output_path"), NULL)}}
    for name, schemas in (("CreateTask", [*alternatives, several]), ("TargetChoice", choices)):
        if name in components:  # a function that is served alone may not know them
            components[name]["oneOf"] = schemas


def _divided(platform: Platform, parameters: Schema) -> Iterator[Schema]:
    """How a target's parameters may be divided between the request and its `targets`: all in one of the two, or some
    in each, where those that must be there are in one of the two."""
    none, required = {"maxProperties": 0}, {"required": parameters.get("required", [])}
    some = {"minProperties": 1} | {name: parameters[name] for name in ("properties", "additionalProperties")}
    must = _parameters_if(parameters)

    def divide(request: Schema, in_request: list[str], target: Schema, in_target: list[str]) -> Schema:
        each = {"anyOf": [_other_than(platform), {"properties": {"parameters": target}, "required": in_target}]}
        return {"properties": {"parameters": request, "targets": {"items": each}}, "required": in_request}

    yield divide(none, [], _ref(platform), must)
    yield divide(_ref(platform), must, none, [])
    yield divide(some | required, ["parameters"], some, [])
    if must:
        yield divide(some, ["parameters"], some | required, must)


def _parameters_if(parameters: Schema) -> list[str]:
    """The name of the field `parameters` if a parameter must be there."""
    return ["parameters"] if parameters.get("required") else []


def _other_than(platform: Platform) -> Schema:
    return {"properties": {"platform": {"not": {"const": platform.name}}}}


def _ref(platform: Platform) -> Schema:
    return {"$ref": f"#/components/schemas/{platform.parameters.__name__}"}


def _ending(suffixes: Sequence[str]) -> str:
    """A pattern for names with one of these suffixes, in upper or lower case."""
    return "(" + "|".join("".join(f"[{char.lower()}{char.upper()}]" if char.isalpha() else re.escape(char)
                                  for char in suffix) for suffix in suffixes) + ")$"
