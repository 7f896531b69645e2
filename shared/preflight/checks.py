"""The whole check of tasks that are not stored yet: the model once, each target's demands on it, calibration sets."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shared.documents import Task
from shared.errors import OutOfTime
from shared.files import FileInfo, Files
from shared.outputs import overwritten_input
from shared.platforms import get_platforms
from shared.platforms.base import get_parameter
from shared.platforms.candidates import conversions_of
from shared.platforms.shapes import parse_input_shape
from shared.preflight import reasons
from shared.preflight.demands import (
    judge_operators,
    judge_opset,
    judge_quantized,
    judge_reference,
    judge_types,
    shared_problems,
    warn_of_values,
)
from shared.preflight.headers import get_headers
from shared.preflight.judge import judge_model, judge_shapes, warn_of_model
from shared.preflight.sets import check_set
from shared.preflight.views import Finding, ModelView, TargetVerdict
from shared.rules import models as rules
from shared.rules import preprocessing
from shared.rules.bilingual import Bilingual
from shared.rules.error_codes import check_code
from shared.rules.fixed import split_fixed, unfixed
from shared.rules.models import shown
from shared.rules.onnx.bounds import Incomplete
from shared.rules.own_inputs import as_said_of_test_inputs, is_of_set
from shared.rules.quantized import quantizing_operators
from shared.rules.reasons import calibration as sets
from shared.rules.reasons import model as models
from shared.rules.refusal import Refusal
from shared.settings import Settings
from shared.texts import Text

_MODEL, _SHAPE = "input_path", "parameters.input_shape"
_FIXED = "parameters.fixed_inputs"
_CALIBRATION = "calibration"
_SETS = {_CALIBRATION: reasons.THE_SET, "verify.inputs": reasons.THE_TEST_INPUTS}
_TARGET, _OUTPUT = "platform", "output_path"
_MAX_COMPANIONS = 64  # external data files that are looked for

# A task may be created before what it reads is uploaded.
MAY_COME_LATER = ("input_not_found", "external_data_missing")


@dataclass
class Findings:
    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def add(self, problem: Refusal, where: str) -> None:
        self.problems.append(Finding(code=problem.code, message=Text.of(problem.text), hint=Text.of(problem.advice),
                                     field=where))

    def warn(self, code: str, message: Bilingual, where: str) -> None:
        self.warnings.append(Finding(code=check_code(code), message=Text.of(message), field=where))

    def not_all(self, error: Incomplete, what: Bilingual, where: str) -> None:
        self.warn("preflight_incomplete", reasons.NOT_ALL(what=what, why=error.text), where)


@dataclass(frozen=True)
class CheckedModel:
    """An object as it was, with its header's facts, where it has any that can be read, and what is wrong with it."""

    info: FileInfo | None
    facts: dict[str, Any] | None
    findings: Findings

    def view(self) -> ModelView | None:
        if self.info is None or self.facts is None:
            return None
        counts = {shown(domain, name): count for domain, name, count in self.facts["operators"]}
        told = ("ir_version", "opsets", "producer", "inputs", "outputs", "nodes")
        return ModelView(size_bytes=self.info.size_bytes, operators=counts, **{name: self.facts[name] for name in told})


def check_model(path: str, files: Files, settings: Settings, deadline: float) -> CheckedModel:
    """What holds for every target.

    Raises:
        Busy, Unavailable.
    """
    findings = Findings()
    info = files.stat(path)
    if info is None:
        findings.add(reasons.NO_MODEL(path=path), _MODEL)
        return CheckedModel(None, None, findings)
    if info.size_bytes > settings.max_model_bytes:
        findings.add(_too_large(settings), _MODEL)
        return CheckedModel(info, None, findings)
    try:
        facts = get_headers().read(info, files, deadline)
    except Refusal as refusal:
        findings.add(refusal, _MODEL)
        return CheckedModel(info, None, findings)
    except Incomplete as error:
        findings.not_all(error, reasons.THE_MODEL, _MODEL)
        return CheckedModel(info, None, findings)
    for problem in judge_model(facts):
        findings.add(problem, _MODEL)
    for warning in warn_of_model(facts):
        findings.warn("operator_not_standard", warning, _MODEL)
    quantizing = quantizing_operators({shown(domain, name) for domain, name, _ in facts["operators"]})
    if quantizing:
        findings.warn("model_quantized", models.QUANTIZED_ALREADY(names=", ".join(quantizing)), _MODEL)
    if not any(finding.code == "external_data_outside" for finding in findings.problems):
        _check_companions(info, facts, files, settings, findings)
    return CheckedModel(info, facts, findings)


def check_target(model: CheckedModel, task: Task, files: Files, deadline: float, conflict: Refusal | None = None
                 ) -> TargetVerdict:
    """What of `task` its target cannot do with the model. `conflict` is what is known of its output.

    Raises:
        Busy, Unavailable.
    """
    findings = Findings(list(model.findings.problems), list(model.findings.warnings))
    inputs = None
    if model.facts is not None:
        _check_operators(model.facts, task, findings)
        _check_types(model.facts, task, findings)
        if unknown := judge_reference(model.facts, task.parameters):
            findings.add(unknown, _MODEL)
        inputs = _check_shapes(model.facts, task, findings)
        if inputs is not None:
            _check_preprocessing(inputs, task, findings)
    if taken := overwritten_input(task, _companions(model)):
        findings.add(models.OUTPUT_OVER_INPUT(path=taken), _OUTPUT)
    elif conflict:
        findings.add(conflict, _OUTPUT)
    for parameter in _SETS:
        if (path := get_parameter(task.parameters, parameter)) is not None and inputs is not None:
            _check_set(parameter, path, inputs, files, deadline, findings)
    return TargetVerdict(platform=task.platform, task_type=task.task_type, valid=not findings.problems,
                         problems=findings.problems, warnings=findings.warnings)


def _check_set(parameter: str, path: str, inputs: list[dict[str, Any]], files: Files, deadline: float,
               findings: Findings) -> None:
    where = f"parameters.{parameter}"
    try:
        check_set(path, inputs, files, deadline, parameter)
    except Refusal as problem:
        if parameter != _CALIBRATION and is_of_set(problem):
            problem = sets.OF_TEST_INPUTS(**as_said_of_test_inputs(problem))
        findings.add(problem, where)
    except Incomplete as error:
        findings.not_all(error, _SETS[parameter], where)
    except OutOfTime:
        findings.not_all(Incomplete(reasons.TOO_SLOW), _SETS[parameter], where)


def _companions(model: CheckedModel) -> list[str]:
    """The paths of the model's external data."""
    if model.info is None or model.facts is None:
        return []
    folder = model.info.path.rpartition("/")[0]
    locations = []
    for location, _, _ in model.facts["external"]:
        with suppress(Refusal):  # it leads out of the folder, which another finding says
            locations.append(f"{folder}/{rules.check_location(location)}")
    return locations


def _check_operators(facts: dict[str, Any], task: Task, findings: Findings) -> None:
    platform = get_platforms()[task.platform]
    conversions = conversions_of(platform.parameters, task.parameters)
    for opset in _of_all(conversions, lambda each: judge_opset(facts, platform.newest_opset, each)):
        findings.add(opset, _MODEL)
    operators = platform.operators
    if operators is None:
        findings.warn("operators_not_checked", reasons.NO_LIST, _TARGET)
        return
    judged = [judge_operators(facts, operators, each) for each in conversions]
    for problem in shared_problems([problems for problems, _ in judged]):
        findings.add(problem, _MODEL)
    for warning in dict.fromkeys(warning for _, warnings in judged for warning in warnings):
        findings.warn("operator_uncertain", warning, _MODEL)


def _of_all(conversions: list[dict[str, Any]], judge: Callable[[dict[str, Any]], Refusal | None]) -> list[Refusal]:
    """The problem that a task has in whichever of its conversions."""
    return shared_problems([[found for found in [judge(each)] if found] for each in conversions])


def _check_types(facts: dict[str, Any], task: Task, findings: Findings) -> None:
    platform = get_platforms()[task.platform]
    conversions = conversions_of(platform.parameters, task.parameters)
    for problem in shared_problems([list(judge_types(facts, platform, each)) for each in conversions]):
        findings.add(problem, _MODEL)
    values = (found for each in conversions for found in warn_of_values(facts, platform, each))
    for code, warning in dict.fromkeys(values):
        findings.warn(code, warning, _MODEL)
    for problem in _of_all(conversions, lambda each: judge_quantized(facts, platform, each)):
        findings.add(problem, "parameters.precision")


def _check_shapes(facts: dict[str, Any], task: Task, findings: Findings) -> list[dict[str, Any]] | None:
    """The inputs with the shapes that they will have."""
    wanted = parse_input_shape(task.parameters.get("input_shape"))
    auto, fixed = task.parameters.get("auto_input_shape", True), task.parameters.get("fixed_inputs") or {}
    try:
        inputs, _ = split_fixed(facts["inputs"], fixed, wanted, auto)
    except Refusal as problem:
        findings.add(problem, _FIXED if problem.code == "fixed_input_mismatch" else _SHAPE)
        return None
    try:
        shapes, warnings = judge_shapes({**facts, "inputs": inputs}, unfixed(wanted, fixed), auto)
    except Refusal as problem:
        findings.add(problem, _SHAPE)
        return None
    for warning in warnings:
        findings.warn("shape_chosen", warning, _SHAPE)
    return [{**entry, "shape": shapes[entry["name"]]} for entry in inputs]


def _check_preprocessing(inputs: list[dict[str, Any]], task: Task, findings: Findings) -> None:
    if not task.parameters.get("inputs"):  # else they would belong to tensors that are not known here
        try:
            preprocessing.check(task.parameters, inputs)
        except Refusal as problem:
            findings.add(problem, "parameters.mean" if task.parameters.get("mean") else "parameters.std")


def _check_companions(info: FileInfo, facts: dict[str, Any], files: Files, settings: Settings, findings: Findings
                      ) -> None:
    """The external data files beside the model: there, long enough, and not too much of them."""
    folder, left = info.path.rpartition("/")[0], settings.max_model_bytes - info.size_bytes
    for location, end, name in facts["external"][:_MAX_COMPANIONS]:
        location = rules.check_location(location)  # `./w.bin` is `w.bin`
        found = files.stat(f"{folder}/{location}")
        if found is None:
            findings.add(models.DATA_MISSING(location=location, path=f"{folder}/{location}"), _MODEL)
            return
        try:
            rules.check_end(name, end, location, found.size_bytes)
        except Refusal as refusal:
            findings.add(refusal, _MODEL)
            return
        left -= found.size_bytes
    if left < 0:
        findings.add(_too_large(settings), _MODEL)
    if len(facts["external"]) > _MAX_COMPANIONS:
        findings.not_all(Incomplete(reasons.TOO_MANY_DATA_FILES(limit=_MAX_COMPANIONS)), reasons.THE_MODEL, _MODEL)


def _too_large(settings: Settings) -> Refusal:
    return models.TOO_LARGE(limit_mib=settings.max_model_bytes >> 20)
