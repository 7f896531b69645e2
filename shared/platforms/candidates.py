"""`precision: "auto"`: the conversions that are tried for a task, from the fastest one to the most exact one.

A target declares its candidates as `candidates` of its parameters. A candidate of a task is a request of its own: the
parameters that the client sent, with a precision in place of `auto` and with the candidate's changes. What the target's
parameters refuse, for example since the chip cannot do it, is no candidate. A value that the client chose, other than
the default, is kept; candidates that come out alike are tried once.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared.rules.bilingual import Bilingual, as_it_is

if TYPE_CHECKING:
    from shared.platforms.base import Automatic

AUTO = "auto"
AUTO_TIME_S = 1800.0  # how long tries go on where the client does not say
_NEED_A_SET = Bilingual("剩余的转换都需要 calibration (校准数据集)",
                        "all that is left needs calibration, a set of samples")
_SOME_SET = "bucket/set"  # stands for a calibration set that the client did not send


@dataclass(frozen=True)
class Candidate:
    """One way to convert. `name` is part of the names of stages: letters, digits and `-`. `changes` are the parameters
    in which it differs from the target's defaults, nested as the parameters are."""

    name: str
    precision: str
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A candidate for one task. `parameters` are those of a request that asks for this conversion alone; None where
    only the calibration set is missing."""

    candidate: Candidate
    parameters: dict[str, Any] | None


def choose(model: type[Automatic], sent: dict[str, Any]) -> list[Choice]:
    """The candidates for a task's parameters, whose precision is `auto`; in the target's order, each once."""
    choices: list[Choice] = []
    for candidate, values in _wanted(model, sent):
        found = _validated(model, values)
        if isinstance(found, dict):
            if all(choice.parameters != found for choice in choices):
                choices.append(Choice(candidate, found))
        elif _needs_a_set(model, values) and isinstance(_validated(model, values | {"calibration": _SOME_SET}), dict):
            choices.append(Choice(candidate, None))
    return choices


def conversions_of(model: type[Any], parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters of each conversion that a task of the target may make: its own, or those of its candidates."""
    if parameters.get("precision") != AUTO:
        return [parameters]
    return [choice.parameters for choice in choose(model, parameters) if choice.parameters is not None]


def explain_none(model: type[Automatic], sent: dict[str, Any]) -> Bilingual:
    """Why no candidate can be tried: all that are left need a set, or what is wrong with the most exact one."""
    if choose(model, sent):
        return _NEED_A_SET
    reason = as_it_is("")
    for _, values in _wanted(model, sent):
        found = _validated(model, values)
        reason = found if isinstance(found, Bilingual) else reason
    return reason


def _wanted(model: type[Automatic], sent: dict[str, Any]) -> Iterator[tuple[Candidate, dict[str, Any]]]:
    """Each candidate and its parameters, unchecked."""
    defaults = model.model_construct().model_dump(mode="json")
    for candidate in model.candidates:
        values = {name: value for name, value in sent.items() if name != "auto_time_s"}
        values["precision"] = candidate.precision
        if candidate.precision not in getattr(model, "quantized_precisions", ()):
            values |= {name: defaults[name] for name in model.only_quantized}
            if "calibration" in values:
                values["calibration"] = None
        yield candidate, _merged(values, candidate.changes, defaults)


def _merged(values: dict[str, Any], changes: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The values, with the changes in place of defaults."""
    merged = dict(values)
    for name, change in changes.items():
        value, default = values.get(name), defaults.get(name)
        if isinstance(change, dict) and isinstance(value, dict) and isinstance(default, dict):
            merged[name] = _merged(value, change, default)
        elif value == default:
            merged[name] = change
    return merged


def told_changes(candidate: Candidate, parameters: dict[str, Any]) -> dict[str, Any]:
    """What the candidate's changes came to in the parameters of a conversion."""
    return _chosen(candidate.changes, parameters)


def _chosen(names: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {name: _chosen(inner, values[name]) if isinstance(inner, dict) and isinstance(values.get(name), dict)
            else values.get(name) for name, inner in names.items()}


def _needs_a_set(model: type[Automatic], values: dict[str, Any]) -> bool:
    return values["precision"] in getattr(model, "quantized_precisions", ()) and values.get("calibration") is None


def _validated(model: type[Automatic], values: dict[str, Any]) -> dict[str, Any] | Bilingual:
    """The parameters as they would be stored, or why they are refused."""
    try:
        return model.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        told = first.get("ctx", {})
        return Bilingual(str(told.get("zh", first["msg"])), str(told.get("en", first["msg"])))
