"""What a target's toolchain takes, found by sending small models through the target's own stages.

An operator is known where one of its models is converted, and refused where each of them fails with
`unsupported_operator` by its name; on the rest there is no verdict. Since the stages before the compiler run too, an
operator that they turn into others is judged as what it becomes.
"""
from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import onnx
from pydantic import ValidationError

from infra.operators.cases import MAX_CASES, OPSET, collect, collect_open, collect_typed
from shared.documents import Task
from shared.errors import ConversionFailed
from shared.platforms import get_platforms
from shared.settings import get_settings
from worker.control import TaskControl
from worker.execution import describe, make_hosts, make_job, run_child
from worker.parameters import stage_parameters
from worker.plan import get_plans
from worker.process import ToolHost
from worker.results import StageResult, describe_files
from worker.stages.common import ONNX
from worker.toolchains import find_toolchain
from worker.watch import StageLimits

Hosts = dict[str, ToolHost]

_LIMITS = StageLimits(time_s=60, memory_bytes=6 << 30, disk_bytes=2 << 30)
# Compilers take these as a part of something larger (GELU, quantized layers), or by what their attributes say, and what
# does nothing in inference is dropped between others: that one is refused by itself is no certainty.
_JUDGED_IN_CONTEXT = {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QuantizeLinear", "DequantizeLinear",
                      "Erf", "Einsum", "Dropout", "Identity"}
_PAIRS = 2  # of models with an input constant and open
_MODELS_ELSEWHERE = 2  # of what is refused, to see whether another chip or precision takes it
# Parameters with which a compiler may leave operators to a CPU.
_UNLESS = ("allow_cpu",)


def probe(target: str) -> dict[str, Any]:
    """The content of the target's `operators.json`."""
    known, refused = [], []
    platform, cases = get_platforms()[target], collect()
    example = {key: value for key, value in platform.example.items() if key != "input_shape"}
    with tool_hosts(target) as (hosts, versions):
        for name, models in cases.items():
            judged = list(verdicts(hosts, target, name, models, example))
            if "taken" in judged:
                known.append(name)
            elif judged and set(judged) == {"refused"} and name not in _JUDGED_IN_CONTEXT:
                refused.append(name)
            print(f"{name}: {', '.join(judged)}", file=sys.stderr, flush=True)
        certain_for = {parameter: [example[parameter], *_others(target, example, parameter)]
                       for parameter in ("chip", "precision") if parameter in example}
        for parameter, values in certain_for.items():
            for value in values[1:]:
                refused = [name for name in refused if "taken" not in verdicts(
                    hosts, target, name, cases[name][:_MODELS_ELSEWHERE], example | {parameter: value})]
                print(f"{parameter} {value}: refuses {len(refused)}", file=sys.stderr, flush=True)
        constant = find_constants(hosts, target, known, example)
        types = find_types(hosts, target, known, example)
    tools = ", ".join(f"{tool} {version}" for tool, version in versions.items())
    return {"source": f"{tools}: up to {MAX_CASES} small models of each operator from onnx {onnx.__version__}'s "
                      f"backend tests, mostly of opset {OPSET}, through the target's own stages "
                      f"(python -m infra.operators)",
            "certain_for": certain_for,
            "unless": [name for name in _UNLESS if name in platform.parameters.model_fields],
            "known": known, "refused": refused, "constant": constant, "types": types}


def find_constants(hosts: Hosts, target: str, known: Collection[str], parameters: dict[str, Any]
                   ) -> dict[str, list[int]]:
    """`{operator: indices}` of the inputs that have to be constants: the compiler takes the operator with them, and
    never where they are computed."""
    found: dict[str, list[int]] = {}
    for name, inputs in collect_open().items():
        for index, pairs in inputs.items() if name in known else ():
            judged = [_try(hosts, target, name, opened, parameters) for constant, opened in pairs[:_PAIRS]
                      if _try(hosts, target, name, constant, parameters) == "taken"]
            if judged and "taken" not in judged:
                found.setdefault(name, []).append(index)
            print(f"{name} input {index}: {', '.join(judged)}", file=sys.stderr, flush=True)
    return {name: sorted(indices) for name, indices in found.items()}


def find_types(hosts: Hosts, target: str, known: Collection[str], parameters: dict[str, Any]) -> dict[str, list[str]]:
    """`{operator: types}` of first inputs with which the compiler never takes an operator that it takes with float."""
    found: dict[str, list[str]] = {}
    for name, by_type in collect_typed().items():
        for kind, models in sorted(by_type.items()) if name in known else ():
            judged = list(verdicts(hosts, target, name, models[:_PAIRS], parameters))
            if set(judged) == {"refused"}:
                found.setdefault(name, []).append(kind)
            print(f"{name} of {kind}: {', '.join(judged)}", file=sys.stderr, flush=True)
    return found


def _others(target: str, example: dict[str, Any], parameter: str) -> list[str]:
    """The parameter's other values, in their normal form, with which the example is a request without a calibration
    set."""
    model = get_platforms()[target].parameters
    found: dict[str, None] = {}
    for value in model.model_json_schema()["properties"][parameter].get("enum", ()):
        with suppress(ValidationError):
            found[getattr(model.model_validate(example | {parameter: value}), parameter)] = None
    return [value for value in found if value != example[parameter]]


def verdicts(hosts: Hosts, target: str, name: str, models: list[onnx.ModelProto], parameters: dict[str, Any]
             ) -> Iterator[str]:
    """What becomes of each model, until one is taken."""
    for model in models:
        verdict = _try(hosts, target, name, model, parameters)
        yield verdict
        if verdict == "taken":
            return


def _try(hosts: Hosts, target: str, name: str, model: onnx.ModelProto, parameters: dict[str, Any]) -> str:
    """`taken`, `refused`, or the code of a failure that says nothing about the operator as such."""
    try:
        compile_model(hosts, target, model, parameters)
    except ConversionFailed as error:
        named = error.code == "unsupported_operator" and re.search(rf"\b{name}\b", error.en)
        return "refused" if named or error.code == "dynamic_shape" else error.code
    return "taken"


def compile_model(hosts: Hosts, target: str, model: onnx.ModelProto, parameters: dict[str, Any]) -> None:
    """Run the target's stages up to `compile`, without those that only the accuracy check needs.

    Raises:
        ConversionFailed: a stage failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        run_stages(hosts, target, Path(folder), model.SerializeToString(), {**parameters, "verify": {"enabled": False}},
                   "compile")


def run_stages(hosts: Hosts, target: str, folder: Path, model: bytes, parameters: dict[str, Any], last: str,
               limits: StageLimits = _LIMITS, brought: dict[str, dict[str, Any]] | None = None
               ) -> dict[str, StageResult]:
    """The results of the stage `last` and of all that it needs; their files lie in `folder / STAGE / "out"`. `brought`
    are the facts of stages that only a worker runs, `calibration_files` for one, whose folders are filled already.

    Raises:
        ConversionFailed: a stage failed.
    """
    accepted = get_platforms()[target].parameters.model_validate(parameters)
    task = Task(id="task_0_0", task_type="probe", platform=target, input_path="models/model.onnx",
                output_path="models/model", parameters=accepted.model_dump(), queue_order=0.0, created_at=0.0,
                updated_at=0.0)
    stages = {stage.name: stage for stage in get_plans()[target].stages_for(task.parameters)}
    folders = {name: folder / name / "out" for name in stages}
    results: dict[str, StageResult] = {}

    def run(name: str) -> None:
        stage, out = stages[name], folders[name]
        for source in stage.inputs:
            if source not in results:
                run(source)
        input_dirs = {source: folders[source] for source in stage.inputs}
        job = make_job(stage, stage_parameters(task), out, results, input_dirs, threads=1)
        try:
            done = run_child(hosts[stage.environment], stage.entry, out.parent, job, limits, TaskControl(task))
        except ConversionFailed as error:
            error.stage = error.stage or name
            raise
        results[name] = describe("", stage, out, done, None)

    folders["fetch"].mkdir(parents=True, exist_ok=True)
    (folders["fetch"] / "model.onnx").write_bytes(model)
    for name, facts in {"fetch": {}, **(brought or {})}.items():
        results[name] = StageResult("", name, describe_files(folders[name]), facts, 0.0)
    run(last)
    return results


@contextmanager
def tool_hosts(target: str) -> Iterator[tuple[Hosts, dict[str, str]]]:
    """The hosts of the target's plan, by environment, and the versions of the target's own tools."""
    settings, own = get_settings(), get_plans()[target].environment
    toolchains = {}
    for environment in (ONNX, own):
        toolchain = find_toolchain(environment, settings.toolchains_dir)
        if toolchain is None:
            raise SystemExit(f"the toolchain {environment.name} is not installed")
        toolchains[environment.name] = toolchain
    hosts = make_hosts(toolchains, settings)
    try:
        yield hosts, toolchains[own.name].versions
    finally:
        for host in hosts.values():
            host.close()
