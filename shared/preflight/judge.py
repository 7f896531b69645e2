"""Whether a model, by its header's facts, can become anything at all; in the stages' codes and words."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from shared.preflight.limits import MAX_IR_VERSION, MAX_OPSET
from shared.preflight.onnx_operators import is_runtimes_own, is_standard
from shared.rules import models as rules
from shared.rules.bilingual import Bilingual
from shared.rules.models import shown
from shared.rules.refusal import Refusal
from shared.rules.shapes import choose_shapes


def judge_model(facts: dict[str, Any]) -> Iterator[Refusal]:
    """What no target could convert, in the order in which the stages would meet it."""
    yield from _external_locations(facts)
    versions = next(_refused(rules.check_versions, facts["ir_version"], facts["opsets"], MAX_IR_VERSION, MAX_OPSET),
                    None)
    if versions:
        yield versions
    yield from (Refusal.from_json(problem) for problem in facts["problems"])
    if not versions:
        yield from _unknown_operators(facts)
    if not facts["outputs"]:
        yield rules.no_output()
    for entry in facts["inputs"] + facts["outputs"]:
        yield from _refused(rules.check_type, entry)


def warn_of_model(facts: dict[str, Any]) -> Iterator[Bilingual]:
    extra = [shown(domain, name) for domain, name in _foreign(facts) if is_runtimes_own(domain, name)]
    if extra:
        yield rules.beyond_standard(extra)


def judge_shapes(facts: dict[str, Any], wanted: dict[str, list[int]], auto: bool
                 ) -> tuple[dict[str, list[int]], list[Bilingual]]:
    """`({input: dimensions}, warnings)`.

    Raises:
        Refusal: `dynamic_shape`, `input_shape_mismatch`, `tensor_too_large`.
    """
    shapes, warnings = choose_shapes(facts["inputs"], wanted, auto)
    for name, dims in shapes.items():
        rules.count_elements(name, dims)
    return shapes, warnings


def _refused(check: Callable[..., Any], *arguments: Any) -> Iterator[Refusal]:
    try:
        check(*arguments)
    except Refusal as refusal:
        yield refusal


def _external_locations(facts: dict[str, Any]) -> Iterator[Refusal]:
    """The first one that is refused."""
    yield from islice((refusal for location, _, _ in facts["external"]
                       for refusal in _refused(rules.check_location, location)), 1)


def _foreign(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Operators that neither ONNX, in the model's versions of it, nor the model itself defines."""
    defined = {tuple(function) for function in facts["functions"]}
    return [(domain, name) for domain, name, _ in facts["operators"]
            if (domain, name) not in defined and not is_standard(domain, name, facts["opsets"])]


def _unknown_operators(facts: dict[str, Any]) -> Iterator[Refusal]:
    unknown = [shown(domain, name) for domain, name in _foreign(facts) if not is_runtimes_own(domain, name)]
    if unknown:
        yield rules.unknown_operators(unknown, facts["opsets"])
