"""What `CreateTask` and `build_tasks` check of targets, as JSON Schema: the models do not know the declared targets."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from shared.platforms import get_platforms
from shared.platforms.base import Platform
from shared.platforms.conditions import NULL, Schema, names_in
from shared.schema import ABSOLUTE_PLACE, PLACE
from shared.settings import Settings

IN_INTEGERS = {"precision": "int8", "calibration": "bucket/set"}  # a request's, which its targets share


def tell_targets(components: dict[str, Schema], settings: Settings) -> None:
    """Extend the schemas of requests for conversions, if they are there: one target or several, with the task types,
    the names of models and the parameters that belong to each."""
    if "CreateTask" not in components:  # a function that is served alone may not know it
        return
    for platform in get_platforms().values():
        tell_places(components[platform.parameters.__name__], settings)
    tell_places(components["Verify"], settings)
    platforms = [_Told(platform, components, settings) for platform in get_platforms().values()]
    components["TargetChoice"]["oneOf"] = [told.choice({}) for told in platforms]
    suffixes = [suffix for suffix in platforms[0].platform.input_suffixes
                if all(suffix in told.platform.input_suffixes for told in platforms)]
    components["CreateTask"]["anyOf"] = [told.alone() for told in platforms] + [
        {"title": title, "required": ["targets", *required], "properties": {
            "parameters": shared, "targets": {"type": "array", "items": {"oneOf": choices}},
            "input_path": {"pattern": platforms[0].beginning + _ending(suffixes)},
            **dict.fromkeys(("platform", "task_type", "output_path"), NULL)}}
        for title, shared, required, choices in _divisions(platforms)]


def tell_places(schema: Any, settings: Settings) -> None:
    """Parameters that name objects begin with a slash only where the settings have local roots."""
    if settings.local_roots:
        return
    if isinstance(schema, dict):
        if schema.get("pattern") == ABSOLUTE_PLACE:
            schema["pattern"] = PLACE
        for inner in schema.values():
            tell_places(inner, settings)
    elif isinstance(schema, list):
        for inner in schema:
            tell_places(inner, settings)


def _divisions(platforms: list[_Told]) -> Iterator[tuple[str, Schema, list[str], list[Schema]]]:
    """How parameters are divided between a request and its targets: a title, the schema of the request's, what the
    request must have therefore, and the schemas of its targets. Schemas cannot say what is right when both are put
    together, so some divisions that the service takes are not among these."""
    common = {name: schema for name, schema in platforms[0].properties.items() if not any(
        name in told.related for told in platforms)
              and all(told.properties.get(name) == schema for told in platforms)}
    closed = {"type": "object", "additionalProperties": False}
    whole = [told.choice({"parameters": told.whole}, told.must) for told in platforms]
    yield "targets with parameters of their own", {"maxProperties": 0}, [], whole
    yield ("targets that share some parameters",
           closed | {"minProperties": 1, "properties": common}, ["parameters"], whole)
    integers = common | {"precision": {"const": IN_INTEGERS["precision"]}, "calibration": platforms[0].calibration}
    yield ("targets in integers with one calibration set",
           closed | {"required": list(IN_INTEGERS), "properties": integers}, ["parameters"],
           [told.choice({"parameters": told.rest}, told.must) for told in platforms if told.calibration])
    for told in platforms:
        yield (f"targets of {told.platform.name} with the same parameters", told.whole, told.must,
               [told.choice({"parameters": {"maxProperties": 0}})])


class _Told:
    """A platform as schemas tell of it."""

    def __init__(self, platform: Platform, components: dict[str, Schema], settings: Settings) -> None:
        self.platform = platform
        self.beginning = "" if settings.local_roots else "^[^/].*"  # else no absolute path is taken
        self._name = platform.parameters.__name__
        plain = components[self._name]
        self.properties: Schema = plain["properties"]
        self._required: list[str] = plain.get("required", [])
        conditions: list[Schema] = plain.pop("allOf", [])
        self.related = {name for condition in conditions for name in names_in(condition)} | {*IN_INTEGERS}
        # Programs that generate bodies can put few conditions together. GET /platforms has them all.
        few = [condition for condition in conditions if {*names_in(condition)} <= {*IN_INTEGERS}]
        plain.update({"allOf": few} if few else {})
        self.must = ["parameters"] if self._required else []
        self.whole = _reference(self._name)

    @property
    def calibration(self) -> Schema | None:
        """The schema of a calibration set that is there; None where the target takes none."""
        kinds = self.properties.get("calibration", {}).get("anyOf", [])
        return next((kind for kind in kinds if kind != NULL), None)

    @property
    def rest(self) -> Schema:
        """Of the parameters beside a precision and its calibration set."""
        rest = {name: schema for name, schema in self.properties.items() if name not in IN_INTEGERS}
        return {"type": "object", "additionalProperties": False, "required": self._required, "properties": rest}

    def choice(self, properties: Schema, required: list[str] | None = None) -> Schema:
        """One of several targets."""
        return {"required": ["platform", "task_type", *(required or [])], "properties": self._pair() | properties}

    def alone(self) -> Schema:
        """A request for this target."""
        return {"title": self.platform.name} | self.choice({
            "parameters": self.whole, "targets": NULL,
            "input_path": {"pattern": self.beginning + _ending(self.platform.input_suffixes)}}, self.must)

    def _pair(self) -> Schema:
        return {"platform": {"const": self.platform.name}, "task_type": {"enum": list(self.platform.task_types)},
                "output_path": {"pattern": f"{self.beginning or '.*'}[^/]{re.escape(self.platform.artefact_suffix)}$"}}


def _reference(component: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component}"}


def _ending(suffixes: Sequence[str]) -> str:
    """A pattern for names with one of these suffixes, in upper or lower case."""
    return "(" + "|".join("".join(f"[{char.lower()}{char.upper()}]" if char.isalpha() else re.escape(char)
                                  for char in suffix) for suffix in suffixes) + ")$"
