"""Whether a target can make what is asked for of a model that every target would take; by its header's facts."""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shared.platforms.base import Operators, Platform
from shared.preflight import reasons
from shared.preflight.graph import Cut, Part
from shared.preflight.onnx_operators import has_no_kernel, runs_in_double, stays_up
from shared.rules.bilingual import Bilingual
from shared.rules.models import STANDARD, shown
from shared.rules.quantized import quantizing_operators
from shared.rules.reasons import model as models
from shared.rules.refusal import Refusal

# Its value is an initialiser in all but name.
_NO_OPERATOR = {"Constant"}
# With these parameters a compiler does not meet all of the model.
_CHANGES = ("inputs", "outputs", "fixed_inputs")
_MAX_NAMED = 10


def judge_operators(facts: dict[str, Any], operators: Operators, parameters: dict[str, Any]
                    ) -> tuple[list[Refusal], list[Bilingual]]:
    """Problems with those operators that the target refuses, and what else is to be said of them."""
    part = Part(facts, parameters) if facts["graph"] is not None else None
    defined = {tuple(function) for function in facts["functions"]}
    used = {shown(domain, name) for domain, name, _ in facts["operators"] if (domain, name) not in defined}
    is_cut = any(parameters.get(name) for name in _CHANGES)
    met = part.operators() if part else {shown(domain, name) for domain, name in facts["remaining"]}
    possible = met | part.uncertain() if part and not defined else used
    if is_cut and part:
        used &= possible
    certain = operators.is_certain(parameters) and (part is not None or not is_cut)
    forms = set(part.refused_forms(operators)) if part else set()
    in_the_way = used & operators.refused & met | forms if certain else set()
    maybe = (used & operators.refused | forms) - in_the_way - (part.decided() if part else set())
    unknown = used & possible - operators.refused - operators.known - _NO_OPERATOR
    warnings = [text(names=", ".join(sorted(names)), source=operators.source) for text, names in (
        (reasons.MAY_BE_REFUSED, maybe), (reasons.NOT_PUBLISHED if operators.published else reasons.NOT_KNOWN, unknown)
    ) if names]
    if operators.published:
        warnings.append(reasons.PUBLISHED_ONLY(source=operators.source))
    return list(_problems(facts, part, operators, in_the_way, certain)), warnings


def _problems(facts: dict[str, Any], part: Part | None, operators: Operators, in_the_way: set[str], certain: bool
              ) -> Iterator[Refusal]:
    computed = part.not_constant(operators) if part and certain else []
    cut = part.cut_around(operators) if part and (in_the_way or computed) else None
    if in_the_way:
        names = ", ".join(sorted(in_the_way))
        yield (reasons.OPERATORS_AT_THE_END(names=names, cut=_tell(cut)) if cut else
               reasons.OPERATORS_REFUSED(names=names))
    if computed:
        names = ", ".join(f"{operator} ({tensor})" for operator, tensor in dict.fromkeys(computed[:_MAX_NAMED]))
        own = sorted({entry["name"] for entry in facts["inputs"]} & {tensor for _, tensor in computed})
        if own:
            yield reasons.FIX_THE_INPUT(names=names, inputs=", ".join(own))
        else:
            yield (reasons.NOT_CONSTANT_AT_THE_END(names=names, cut=_tell(cut)) if cut else
                   reasons.NOT_CONSTANT(names=names))


def judge_opset(facts: dict[str, Any], newest: int | None, parameters: dict[str, Any]) -> Refusal | None:
    """A problem with operators that keep a model from being converted down to the newest opset of a target's tool."""
    opset = facts["opsets"].get("ai.onnx", 1)
    if newest is None or opset <= newest or facts["graph"] is None:
        return None
    part = Part(facts, parameters)
    in_the_way = {name for name in part.operators() if stays_up(name, opset, newest)}
    if not in_the_way:
        return None
    return reasons.NO_WAY_DOWN(opset=opset, newest=newest, names=", ".join(sorted(in_the_way)))


def judge_types(facts: dict[str, Any], platform: Platform, parameters: dict[str, Any]) -> Iterator[Refusal]:
    """Problems with inputs of types that a target does not take, or of which no output depends."""
    if facts["graph"] is None:
        return
    part = Part(facts, parameters)
    if not (platform.constant_outputs or part.computes()):
        yield models.NOTHING_TO_COMPUTE()
    dtypes = {entry["name"]: entry["dtype"] for entry in facts["inputs"]}
    read = part.read_types(dtypes)
    own = [name for name in part.inputs if name in dtypes and name in part.read]
    scalars = [entry["name"] for entry in facts["inputs"] if entry["shape"] == [] and entry["name"] in own]
    if scalars and not platform.scalar_inputs:
        yield reasons.NO_SCALARS(inputs=", ".join(scalars[:_MAX_NAMED]))
    wrong = [name for name in own if platform.input_dtypes and dtypes[name] not in platform.input_dtypes]
    if wrong:
        told = ", ".join(f"{name} ({dtypes[name]})" for name in wrong[:_MAX_NAMED])
        begins = part.behind_casts(wrong)
        yield (reasons.TYPES_BEHIND_CASTS(inputs=told, cut=_tell(Cut("inputs", tuple(begins)))) if begins else
               reasons.TYPES_NOT_TAKEN(inputs=told))
        return
    operators = platform.operators
    not_cast = platform.no_casts_of.get(parameters.get("precision") or "", ())
    if not (operators and any(parameters.get(name) for name in operators.unless)):
        for name in [name for name in own if dtypes[name] in not_cast]:
            if begins := part.behind_casts([name]):
                yield reasons.TYPES_BEHIND_CASTS(inputs=f"{name} ({dtypes[name]})",
                                                 cut=_tell(Cut("inputs", tuple(begins))))
    if operators and operators.is_certain(parameters):
        found = dict.fromkeys(f"{operator} ({tensor}: {dtype})" for operator, tensor, dtype in read
                              if dtype in operators.types.get(operator, ()))
        if found:
            yield reasons.OPERATORS_OF_TYPE(names=", ".join(list(found)[:_MAX_NAMED]))


def warn_of_values(facts: dict[str, Any], platform: Platform, parameters: dict[str, Any]
                   ) -> Iterator[tuple[str, Bilingual]]:
    """`(code, text)`: where values decide what becomes of the model, and the check does not know them."""
    if facts["graph"] is None:
        return
    part = Part(facts, parameters)
    deciding = part.deciding_inputs()
    if deciding:
        yield "input_decides_shape", reasons.INPUTS_DECIDE(names=", ".join(deciding[:_MAX_NAMED]))
    quantized = getattr(platform.parameters, "quantized_precisions", ())
    joined = part.joined_scores() if parameters.get("precision") in quantized else None
    if joined:
        cut = Cut("outputs", tuple(part.instead_of(*joined)))
        yield "scales_joined", reasons.SCALES_JOINED(output=joined[0], names=", ".join(joined[1]), cut=_tell(cut))


def judge_quantized(facts: dict[str, Any], platform: Platform, parameters: dict[str, Any]) -> Refusal | None:
    """A problem with an integer precision for a model that holds quantized layers already."""
    if parameters.get("precision") not in platform.never_again or facts["graph"] is None:
        return None
    layers = quantizing_operators(Part(facts, parameters).operators())
    return reasons.QUANTIZED_ALREADY(names=", ".join(layers), precision=parameters["precision"]
                                     ) if layers else None


def judge_reference(facts: dict[str, Any], parameters: dict[str, Any]) -> Refusal | None:
    """A problem with what ONNX Runtime cannot run: without the reference nothing can be compared."""
    if facts["graph"] is None or facts["functions"] or not (parameters.get("verify") or {}).get("enabled", True):
        return None
    part, opset = Part(facts, parameters), facts["opsets"].get("ai.onnx", 1)
    used = {name for domain, name, _ in facts["operators"] if domain in STANDARD}
    if any(parameters.get(name) for name in _CHANGES):
        used &= part.operators() | part.uncertain()
    missing = [f"{name} (opset {opset})" for name in sorted(used) if has_no_kernel(name, opset)]
    dtypes = {entry["name"]: entry["dtype"] for entry in facts["inputs"]}
    missing += sorted({f"{name} (double)" for name, _, dtype in part.read_types(dtypes)
                       if dtype == "double" and not runs_in_double(name)})
    return reasons.NO_REFERENCE(names=", ".join(missing[:_MAX_NAMED])) if missing else None


def shared_problems(problems: list[list[Refusal]]) -> list[Refusal]:
    """Of the problems of each conversion the first one's that all have: precision auto goes on to the next one where
    one conversion is refused."""
    codes = [{problem.code for problem in each} for each in problems]
    return [problem for problem in problems[0] if all(problem.code in each for each in codes)]


def _tell(cut: Cut) -> str:
    """As it is sent."""
    return f"{cut.parameter} = {json.dumps(cut.tensors, ensure_ascii=False)}"
