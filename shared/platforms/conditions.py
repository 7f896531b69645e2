"""What parameters have to do with one another, as JSON Schema: what the models' validators refuse is told before.

A model has these conditions as its class method `conditions`. All that hold for it and its bases are its `allOf`. A
parameter that is left out counts as its default. Where a schema cannot say a rule, the condition is stricter than the
validator, or there is none and the validator's message tells the rule.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
TEXT: Schema = {"type": "string"}
LIST: Schema = {"type": "array"}
_TYPES: dict[str, type] = {"null": type(None), "string": str, "array": list, "object": dict}


def one_of(*values: Any) -> Schema:
    return {"enum": list(values)}


def none_of(*values: Any) -> Schema:
    return {"not": one_of(*values)}


def having(model: type[BaseModel], properties: Mapping[str, Schema]) -> Schema:
    """Objects whose fields are these, as they were sent or by the model's defaults."""
    required = [name for name, schema in properties.items() if not fits(_default(model, name), schema)]
    return {"properties": dict(properties)} | ({"required": required} if required else {})


def when(model: type[BaseModel], condition: Mapping[str, Schema], then: Mapping[str, Schema] | Schema) -> Schema:
    """Where the model's fields are as in `condition`, others have to be as in `then`; a schema of the whole object can
    stand there too, as `{"properties": …}` or `{"anyOf": …}`."""
    whole = {"properties", "anyOf", "required"} & then.keys()
    return {"if": having(model, condition), "then": dict(then) if whole else having(model, then)}


def defaults_of(model: type[BaseModel]) -> Schema:
    """Objects that say nothing else than the model's defaults."""
    return having(model, {name: one_of(_default(model, name)) for name in model.model_fields})


def _default(model: type[BaseModel], name: str) -> Any:
    """`...` where there is none: it fits nothing."""
    field = model.model_fields[name]
    value = ... if field.is_required() else field.get_default(call_default_factory=True)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def fits(value: Any, schema: Schema) -> bool:
    """Whether a schema that is made of the functions above takes a value of JSON."""
    if value is ... or ("enum" in schema and not any(
            value == known and isinstance(value, bool) == isinstance(known, bool) for known in schema["enum"])):
        return False
    if "type" in schema and not isinstance(value, _TYPES[schema["type"]]):
        return False
    if "not" in schema and fits(value, schema["not"]):
        return False
    return not isinstance(value, dict) or (
        all(name in value for name in schema.get("required", ())) and all(
            name not in value or fits(value[name], inner) for name, inner in schema.get("properties", {}).items()))


def tell_conditions(schema: Schema, model: type[BaseModel]) -> None:
    """For a model's `json_schema_extra`."""
    told = [condition for base in reversed(model.__mro__) if "conditions" in vars(base)
            for condition in vars(base)["conditions"].__get__(None, model)()]
    if told:
        schema["allOf"] = told


def names_in(condition: Schema) -> Iterator[str]:
    """The fields that a condition speaks of."""
    yield from condition.get("properties", ())
    yield from condition.get("required", ())
    for key in {"if", "then", "not"} & condition.keys():
        yield from names_in(condition[key])
    for key in ("anyOf", "allOf"):
        for inner in condition.get(key, ()):
            yield from names_in(inner)
