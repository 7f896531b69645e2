"""What a target's toolchain takes, found by sending small models through the target's own stages.

An operator is known where one of its models is converted, and refused where each of them fails with
`unsupported_operator` by its name; on the rest there is no verdict. Since the stages before the compiler run too, an
operator that they turn into others is judged as what it becomes.
"""
from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
from pydantic import ValidationError

from shared.documents import Task
from shared.errors import ConversionFailed
from shared.platforms import get_platforms
from shared.settings import get_settings
from tests.fixtures.stages import Conversion
from tests.operators.cases import MAX_CASES, OPSET, collect
from worker.control import TaskControl
from worker.plan import get_plans
from worker.process import ToolHost, clean_environment
from worker.stage_api import StageError
from worker.toolchains import find_toolchain
from worker.watch import StageLimits

_LIMITS = StageLimits(time_s=60, memory_bytes=6 << 30, disk_bytes=2 << 30)
# Compilers take these as a part of something larger (GELU, quantised layers), or by what their attributes say, and what
# does nothing in inference is dropped between others: that one is refused by itself is no certainty.
_JUDGED_IN_CONTEXT = {"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QuantizeLinear", "DequantizeLinear",
                      "Erf", "Einsum", "Dropout", "Identity"}
_MODELS_ELSEWHERE = 2  # of what is refused, to see whether another chip or precision takes it
# Parameters with which a compiler sees a part of the model only, or may leave operators to a CPU.
_UNLESS = ("inputs", "outputs", "allow_cpu")


def probe(target: str) -> dict[str, Any]:
    """The content of the target's `operators.json`."""
    known, refused = [], []
    platform, cases = get_platforms()[target], collect()
    example = {key: value for key, value in platform.example.items() if key != "input_shape"}
    with _tool_host(target) as (host, versions):
        for name, models in cases.items():
            verdicts = list(_verdicts(host, target, name, models, example))
            if "taken" in verdicts:
                known.append(name)
            elif verdicts and set(verdicts) == {"refused"} and name not in _JUDGED_IN_CONTEXT:
                refused.append(name)
            print(f"{name}: {', '.join(verdicts)}", file=sys.stderr, flush=True)
        certain_for = {parameter: [example[parameter], *_others(target, example, parameter)]
                       for parameter in ("chip", "precision") if parameter in example}
        for parameter, values in certain_for.items():
            for value in values[1:]:
                refused = [name for name in refused if "taken" not in _verdicts(
                    host, target, name, cases[name][:_MODELS_ELSEWHERE], example | {parameter: value})]
                print(f"{parameter} {value}: refuses {len(refused)}", file=sys.stderr, flush=True)
    tools = ", ".join(f"{tool} {version}" for tool, version in versions.items())
    return {"source": f"{tools}: up to {MAX_CASES} small models of each operator from onnx {onnx.__version__}'s "
                      f"backend tests, mostly of opset {OPSET}, through the target's own stages "
                      f"(python -m tests.operators)",
            "certain_for": certain_for,
            "unless": [name for name in _UNLESS if name in platform.parameters.model_fields],
            "known": known, "refused": refused}


def _others(target: str, example: dict[str, Any], parameter: str) -> list[str]:
    """The parameter's other values, in their normal form, with which the example is a request without a calibration
    set."""
    model, found = get_platforms()[target].parameters, {}
    for value in model.model_json_schema()["properties"][parameter].get("enum", ()):
        with suppress(ValidationError):
            found[getattr(model.model_validate(example | {parameter: value}), parameter)] = None
    return [value for value in found if value != example[parameter]]


def _verdicts(host: ToolHost, target: str, name: str, models: list[onnx.ModelProto], parameters: dict[str, Any]
              ) -> Iterator[str]:
    for model in models:
        verdict = _try(host, target, name, model, parameters)
        yield verdict
        if verdict == "taken":
            return


def _try(host: ToolHost, target: str, name: str, model: onnx.ModelProto, parameters: dict[str, Any]) -> str:
    """`taken`, `refused`, or the code of a failure that says nothing about the operator as such."""
    with tempfile.TemporaryDirectory() as folder:
        conversion = _Probe(host, Path(folder), model, platform=target, verify={"enabled": False}, **parameters)
        try:
            conversion.run("compile")
        except (StageError, ConversionFailed) as error:
            named = error.code == "unsupported_operator" and re.search(rf"\b{name}\b", str(error))
            return "refused" if named else error.code
    return "taken"


@contextmanager
def _tool_host(target: str) -> Iterator[tuple[ToolHost, dict[str, str]]]:
    environment = get_plans()[target].environment
    toolchain = find_toolchain(environment, get_settings().toolchains_dir)
    if toolchain is None:
        raise SystemExit(f"the toolchain {environment.name} is not installed")
    host = ToolHost(environment.name, toolchain.interpreter, environment.preload, clean_environment(()))
    try:
        yield host, toolchain.versions
    finally:
        host.close()


class _Probe(Conversion):
    """A conversion whose own stages run in the toolchain's host; the shared ones run here."""

    def __init__(self, host: ToolHost, folder: Path, model: onnx.ModelProto, **parameters: Any) -> None:
        super().__init__(folder, model, own_interpreter=True, **parameters)
        self._host = host

    def _run_apart(self, entry: str, name: str, job: dict[str, Any]) -> dict[str, Any]:
        module, _, function = entry.partition(":")
        if name != self._host.name:
            return getattr(import_module(module), function)(job)
        folder = self.folder / "work" / Path(job["output_dir"]).name
        folder.mkdir(parents=True)
        task = Task(id="task_0_0", task_type="probe", platform="probe", input_path="b/m.onnx", output_path="b/m",
                    queue_order=0.0, created_at=0.0, updated_at=0.0)
        return self._host.run(entry, folder, job, _LIMITS, TaskControl(task)).facts
