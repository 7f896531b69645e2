"""What becomes of one test's model at one target, and what the pre-flight said of it before.

An artefact in half precision is right where it answers what the model does to the test's input in half precision: 10001
is 10000 there. Where the input holds NaN or infinity, and the artefact is right but for these, that is told apart.
"""
from __future__ import annotations

import re
import shutil
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from infra.operators.probe import Hosts, run_stages
from shared.documents import Task
from shared.errors import ConversionFailed
from shared.platforms import get_platforms
from shared.preflight.checks import CheckedModel, Findings, check_target
from shared.preflight.judge import judge_model, warn_of_model
from shared.rules.onnx.bounds import Incomplete
from shared.rules.onnx.facts import read_facts
from shared.rules.refusal import Refusal
from tests.backend_nodes.cases import Case
from tests.backend_nodes.compare import difference
from tests.backend_nodes.runners import INPUTS, OUTPUTS
from worker.control import TaskControl
from worker.execution import run_child
from worker.plan import get_plans
from worker.watch import StageLimits

LIMITS = StageLimits(time_s=120, memory_bytes=6 << 30, disk_bytes=2 << 30)
# No code that a client should read of a model.
OWN_FAULTS = ("stage_crashed", "internal_error")
_INTERNAL = re.compile(r"\b(IndexError|KeyError|AttributeError|TypeError|AssertionError|NoneType)\b")
COMPLETED = ("right", "right but for NaN", "wrong", "not comparable")
_IN_HALF = ("qualcomm", "rockchip")  # what they compute is of that precision, and so what they read
_ABOUT_NAN = ("IsInf", "IsNaN")
_SEEDS = 1  # of the accuracy check, which is not what is looked at here


@dataclass(frozen=True)
class Outcome:
    """`said` is "valid", "uncertain" or a code. `happened` is "right", "right but for NaN", "wrong", "not comparable"
    or a code; `why` is the message of what happened, and `fault` what no client should see of it."""

    case: str
    operator: str
    target: str
    said: str
    happened: str
    why: str
    fault: str
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether it was refused if and only if it does not complete; an uncertain one may do either."""
        completed = self.happened in (*COMPLETED, "accuracy_too_low")
        return self.said == "uncertain" or completed == (self.said == "valid")


def run_case(hosts: Hosts, target: str, case: Case) -> Outcome:
    parameters = {key: value for key, value in get_platforms()[target].example.items() if key != "input_shape"}
    data, started = case.model.SerializeToString(), time.monotonic()
    said = ask_preflight(target, data, parameters)
    happened, why = _convert(hosts, target, case, data, parameters)
    fault = happened if happened in OWN_FAULTS else (found.group() if (found := _INTERNAL.search(why)) else "")
    return Outcome(case.name, case.operator, target, said, happened, why[:300], fault, time.monotonic() - started)


def ask_preflight(target: str, data: bytes, parameters: dict[str, Any]) -> str:
    """The verdict on a model that lies where it should."""
    findings = Findings()
    accepted = get_platforms()[target].parameters.model_validate(parameters).model_dump(mode="json")
    task = Task(id="task_0_0", task_type="backend_nodes", platform=target, input_path="models/model.onnx",
                output_path="models/out/model", parameters=accepted, queue_order=0.0, created_at=0.0, updated_at=0.0)
    try:
        facts = read_facts(lambda start, length: data[start:start + length], len(data))
    except Refusal as refusal:
        return refusal.code
    except Incomplete:
        return "uncertain"
    for problem in judge_model(facts):
        findings.add(problem, "input_path")
    for warning in warn_of_model(facts):
        findings.warn("operator_not_standard", warning, "input_path")
    verdict = check_target(CheckedModel(None, facts, findings), task, None, 0.0)
    if verdict.problems:
        return verdict.problems[0].code
    uncertain = {"operator_uncertain", "operator_not_standard", "input_decides_shape"}
    return "uncertain" if uncertain & {warning.code for warning in verdict.warnings} else "valid"


def _convert(hosts: Hosts, target: str, case: Case, data: bytes, parameters: dict[str, Any]) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            results = run_stages(hosts, target, folder, data, parameters | {"verify": {"samples": _SEEDS}}, "verify",
                                 LIMITS)
        except ConversionFailed as error:
            return error.code, f"{error.stage}: {error.en}"
        if case.inputs is None or case.expected is None or case.is_by_chance:
            return "not comparable", ""
        try:
            got = _run_artefact(hosts, target, case, folder, results, parameters)
            found = difference(case.expected, got)
            if found and target in _IN_HALF and not difference(_answer(case, in_half(case.inputs)), got):
                found = ""
            if found and not are_finite(case.inputs) and case.operator not in _ABOUT_NAN:
                tame = replace(case, inputs=with_numbers(case.inputs))
                shutil.rmtree(folder / "case")
                shutil.rmtree(folder / "run")
                wanted = _answer(tame, tame.inputs)
                given = _run_artefact(hosts, target, tame, folder, results, parameters)
                if wanted and not difference(*where_finite(wanted, given)):
                    return "right but for NaN", found
        except ConversionFailed as error:
            return "wrong", f"the artefact does not run: {error.en}"
        return ("wrong", found) if found else ("right", "")


def in_half(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As half precision holds them."""
    with np.errstate(over="ignore"):
        return {name: array.astype(np.float16).astype(array.dtype) if array.dtype.kind == "f" else array
                for name, array in inputs.items()}


def are_finite(inputs: dict[str, np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in inputs.values() if array.dtype.kind == "f")


def with_numbers(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With numbers in the place of NaN and infinity."""
    return {name: np.nan_to_num(array, nan=0.5, posinf=2.5, neginf=-2.5) if array.dtype.kind == "f" else array
            for name, array in inputs.items()}


def where_finite(wanted: dict[str, np.ndarray], given: list[np.ndarray]
                 ) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Both with zeros where the model itself has no number: a remainder of a division by zero."""
    kept = {name: np.nan_to_num(array, nan=0, posinf=0, neginf=0) for name, array in wanted.items()}
    return kept, [np.where(np.isfinite(one), other, 0) if one.shape == other.shape else other
                  for one, other in zip(wanted.values(), given, strict=False)]


def _answer(case: Case, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime answers; nothing where it cannot run the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(case.model.SerializeToString(), options,
                                               providers=["CPUExecutionProvider"])
        return dict(zip(case.expected or (), session.run(None, inputs), strict=True))
    except Exception:  # ONNX Runtime's errors share no base class
        return {}


def _run_artefact(hosts: Hosts, target: str, case: Case, folder: Path, results, parameters: dict[str, Any]
                  ) -> list[np.ndarray]:
    own = folder / "case"
    own.mkdir()
    np.savez(own / INPUTS, **case.inputs)
    inputs = {name: {"dir": str(folder / name / "out"), "facts": result.facts} for name, result in results.items()}
    job = {"parameters": parameters, "output_dir": str(folder / "run" / "out"), "threads": 1,
           "inputs": inputs | {"case": {"dir": str(own), "facts": {}}}}
    host = hosts[get_plans()[target].environment.name]
    task = Task(id="task_0_0", task_type="backend_nodes", platform=target, input_path="b/m", output_path="b/m",
                queue_order=0.0, created_at=0.0, updated_at=0.0)
    run_child(host, f"tests.backend_nodes.runners:{target}", folder / "run", job, LIMITS, TaskControl(task))
    with np.load(folder / "run" / "out" / OUTPUTS, allow_pickle=False) as arrays:
        return [arrays[name] for name in arrays.files]
