"""Whether a model, by its header's facts, can become what a target makes of it; in the stages' codes and words."""
from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from shared.platforms.base import Operators
from shared.preflight.limits import MAX_IR_VERSION, MAX_OPSET, Problem
from shared.preflight.onnx_operators import is_runtimes_own, is_standard, shown
from shared.preflight.tensors import count_elements
from shared.static_shapes import ShapeProblem, choose_shapes

# Types that the reference run can feed and compare.
_NUMERIC = ("float16", "float", "double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
            "bool")
# Its value is an initialiser in all but name.
_NO_OPERATOR = {"Constant"}
# ONNX Runtime takes the location "*/_ORT_MEM_ADDR_/*" for an address in its own memory.
_FORBIDDEN = "\\*\0"
_MODEL = "model.onnx"


def judge_model(facts: dict[str, Any]) -> Iterator[Problem]:
    """What no target could convert, in the order in which the stages would meet it."""
    yield from _external_locations(facts)
    versions = next(_versions(facts), None)
    if versions:
        yield versions
    yield from (Problem(*problem) for problem in facts["problems"])
    if not versions:
        yield from _unknown_operators(facts)
    if not facts["outputs"]:
        yield Problem("model_invalid", "the model has no output", "export it with at least one output")
    for entry in facts["inputs"] + facts["outputs"]:
        if entry["dtype"] not in _NUMERIC:
            yield Problem("unsupported_type", f"{entry['name']!r} is of type {entry['dtype']}, which no target takes",
                          "convert the part of the model that works on numbers")


def warn_of_model(facts: dict[str, Any]) -> Iterator[str]:
    extra = [shown(domain, name) for domain, name in _foreign(facts) if is_runtimes_own(domain, name)]
    if extra:
        yield "outside the ONNX standard, so it depends on the target: " + ", ".join(extra)


def judge_operators(facts: dict[str, Any], operators: Operators, parameters: dict[str, Any]
                    ) -> tuple[Problem | None, list[str]]:
    """A problem with those operators that the target refuses, and what else is to be said of them."""
    defined = {tuple(function) for function in facts["functions"]}
    used = {shown(domain, name) for domain, name, _ in facts["operators"] if (domain, name) not in defined}
    remaining = {shown(domain, name) for domain, name in facts["remaining"]}
    in_the_way = sorted(used & operators.refused & remaining)
    warnings = []
    maybe = sorted(used & operators.refused - remaining)
    if not operators.is_certain(parameters):
        maybe, in_the_way = sorted({*maybe, *in_the_way}), []
    if maybe:
        warnings.append("the target's compiler may refuse, where it meets them: " + ", ".join(maybe))
    unknown = sorted(used - operators.refused - operators.known - _NO_OPERATOR)
    if unknown:
        warnings.append("not known whether the target's compiler takes: " + ", ".join(unknown))
    if not in_the_way:
        return None, warnings
    return Problem("unsupported_operator", "the target's compiler does not take: " + ", ".join(in_the_way),
                   "replace them by operators that it takes, or end the model before them"), warnings


def judge_shapes(facts: dict[str, Any], wanted: dict[str, list[int]], auto: bool
                 ) -> tuple[dict[str, list[int]], list[str]]:
    """`({input: dimensions}, warnings)`.

    Raises:
        Problem: `dynamic_shape`, `input_shape_mismatch`, `tensor_too_large`.
    """
    try:
        shapes, warnings = choose_shapes(facts["inputs"], wanted, auto)
    except ShapeProblem as problem:
        raise Problem(problem.code, problem.message, problem.hint) from problem
    for name, dims in shapes.items():
        count_elements(name, dims)
    return shapes, warnings


def is_inside(location: str) -> bool:
    """Whether an external file's name is a plain path below the model's folder."""
    normal = posixpath.normpath(location) if location else ""
    return not (not location or len(location) > 1024 or location.startswith("/") or ".." in location.split("/")
                or location[1:2] == ":" or any(char in location for char in _FORBIDDEN) or normal in (".", _MODEL))


def _external_locations(facts: dict[str, Any]) -> Iterator[Problem]:
    for location, _, _ in facts["external"]:
        if not is_inside(location):
            yield Problem("external_data_outside", f"the external data file {location[:200]!r} is not a plain path "
                                                   "below the model's folder",
                          "save the model again so that its data lies beside it: "
                          "onnx.save(model, path, save_as_external_data=True, location=\"weights.bin\")")
            return


def _versions(facts: dict[str, Any]) -> Iterator[Problem]:
    opsets = facts["opsets"]
    hint = f"export the model again with an opset of at most {MAX_OPSET}; 17 is understood everywhere"
    if facts["ir_version"] > MAX_IR_VERSION:
        yield Problem("opset_unsupported", f"the model's IR version is {facts['ir_version']}; "
                                           f"this service reads up to {MAX_IR_VERSION}", hint)
    if opsets.get("ai.onnx", 1) > MAX_OPSET:
        yield Problem("opset_unsupported", f"the model's opset is {opsets['ai.onnx']}; "
                                           f"this service reads up to {MAX_OPSET}", hint)
    if not opsets:
        yield Problem("model_invalid", "the model names no opset: its end is missing, or its exporter is at fault",
                      "compare the file with the original, or export it again")


def _foreign(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Operators that neither ONNX, in the model's versions of it, nor the model itself defines."""
    defined = {tuple(function) for function in facts["functions"]}
    return [(domain, name) for domain, name, _ in facts["operators"]
            if (domain, name) not in defined and not is_standard(domain, name, facts["opsets"])]


def _unknown_operators(facts: dict[str, Any]) -> Iterator[Problem]:
    unknown = [shown(domain, name) for domain, name in _foreign(facts) if not is_runtimes_own(domain, name)]
    if unknown:
        yield Problem("unsupported_operator",
                      f"no known operators in opset {facts['opsets'].get('ai.onnx', 1)}: {', '.join(unknown)}",
                      "replace them by standard ONNX operators, or export with an opset that has them")
