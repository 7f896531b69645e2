"""Make an artefact again from its manifest: `python -m worker.reproduce MANIFEST MODEL OUT_DIR`.

No store, queue or object store: the stages run here, one after the other, in the toolchains that `make toolchains` has
installed, and what each of them gives is held against what the manifest says. The answer is 0 where the artefact is the
manifest's bit for bit, 1 where it is not or a stage failed, and 2 where it could not even be tried.
"""
from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.digests import file_digest
from shared.documents import Task
from shared.errors import ConversionFailed
from shared.outputs import published_names
from shared.settings import Settings, WrongSettings, get_settings
from worker.control import TaskControl
from worker.execution import describe, make_hosts, make_job, run_child, stage_limits
from worker.keys import code_digest
from worker.parameters import stage_parameters
from worker.plan import CORE, Plan, Stage, get_plans
from worker.process import ToolHost
from worker.results import StageResult, describe_files
from worker.stages.common import ONNX
from worker.toolchains import Toolchain, find_toolchain


class CannotReproduce(Exception):
    """The manifest, or what was given with it, is not enough to begin."""


def reproduce(manifest: dict[str, Any], given: dict[str, Path], out_dir: Path, settings: Settings, work: Path) -> bool:
    """Whether the artefact, which then lies in `out_dir`, is the manifest's. `given` are the model (`input`) and what
    parameters name, by parameter: a file or a folder. Tells on standard output what is equal and what is not.

    Raises:
        CannotReproduce: see there.
        ConversionFailed: a stage failed.
    """
    task = _task(manifest)
    plan, stages = _plan(task, manifest)
    told = {entry["name"]: entry for entry in manifest["stages"]}
    toolchains = _toolchains(plan, stages, told, settings)
    results: dict[str, StageResult] = {}
    folders = {stage.name: work / stage.name / "out" for stage in stages}
    with _hosts(toolchains, settings) as hosts:
        for stage in stages[:-1]:  # the last one publishes
            if stage.environment == CORE:
                result = _take(stage, told[stage.name], given, folders[stage.name])
            else:
                result = _run(stage, task, results, folders, hosts[stage.environment], settings)
            results[stage.name] = result
            _tell(stage.name, _differences(result, told[stage.name]), f"{result.seconds:.1f} s")
    return _deliver(task, manifest, results[stages[-1].inputs[0]], folders[stages[-1].inputs[0]], out_dir)


def _task(manifest: dict[str, Any]) -> Task:
    if manifest.get("manifest_version") != 1:
        raise CannotReproduce("this is no manifest of version 1")
    try:
        return Task(id=manifest["task_id"], task_type=manifest["task_type"], platform=manifest["platform"],
                    input_path=manifest["input"]["path"], output_path=manifest["output_path"],
                    parameters=manifest["parameters"], queue_order=0.0, created_at=0.0, updated_at=0.0)
    except (KeyError, ValueError) as error:
        raise CannotReproduce(f"the manifest lacks something: {error}") from error


def _plan(task: Task, manifest: dict[str, Any]) -> tuple[Plan, tuple[Stage, ...]]:
    """Which code runs is this checkout's to say, not the manifest's."""
    plan = get_plans().get(task.platform)
    if plan is None:
        raise CannotReproduce(f"there is no target {task.platform!r} here")
    stages = plan.stages_for(task.parameters)
    ours, theirs = ([stage.name for stage in stages[:-1]], [entry["name"] for entry in manifest["stages"]])
    if ours != theirs:
        raise CannotReproduce(f"the manifest's stages are {', '.join(theirs)}; here they are {', '.join(ours)}: "
                              "it was made by another version of this project")
    return plan, stages


def _toolchains(plan: Plan, stages: tuple[Stage, ...], told: dict[str, Any],
                settings: Settings) -> dict[str, Toolchain]:
    needed = {stage.environment for stage in stages} - {CORE}
    found = {}
    for environment in (ONNX, plan.environment):
        if environment.name not in needed:
            continue
        toolchain = find_toolchain(environment, settings.toolchains_dir)
        if toolchain is None:
            raise CannotReproduce(f"the toolchain {environment.name} is not installed; "
                                  f"run: make toolchain-{environment.name}")
        entry = next(told[stage.name] for stage in stages if stage.environment == environment.name)
        differing = [f"{tool} {toolchain.versions.get(tool)} here, {entry['tools'].get(tool)} in the manifest"
                     for tool in sorted({*toolchain.versions, *entry["tools"]})
                     if toolchain.versions.get(tool) != entry["tools"].get(tool)]
        if not differing and toolchain.digest != entry["toolchain_digest"]:
            differing = ["packages that it depends on have other versions"]
        _tell(f"toolchain {environment.name}", differing,
              ", ".join(f"{tool} {version}" for tool, version in toolchain.versions.items()))
        found[environment.name] = toolchain
    changed = [stage.name for stage in stages[:-1]
               if told[stage.name].get("code_digest") != code_digest(stage.entry)]
    _tell("code", [f"of {', '.join(changed)}"] if changed else [])
    return found


@contextmanager
def _hosts(toolchains: dict[str, Toolchain], settings: Settings) -> Iterator[dict[str, ToolHost]]:
    hosts = make_hosts(toolchains, settings)
    try:
        yield hosts
    finally:
        for host in hosts.values():
            host.close()


def _take(stage: Stage, told: dict[str, Any], given: dict[str, Path], folder: Path) -> StageResult:
    """A stage that would download, from what was given instead; its facts speak of the objects' versions, which only
    the manifest knows.

    Raises:
        CannotReproduce: something is missing, or is not what the manifest speaks of.
    """
    folder.mkdir(parents=True)
    for name, about in told["files"].items():
        if name.startswith("/") or ".." in Path(name).parts:
            raise CannotReproduce(f"{stage.name}: the manifest names a file outside of the stage: {name}")
        source = _find(stage, name, given)
        if not source.is_file():
            raise CannotReproduce(f"{stage.name}: there is no {source}")
        if file_digest(source) != about["sha256"]:
            raise CannotReproduce(f"{stage.name}: {source} is not the file that was converted: its SHA-256 should be "
                                  f"{about['sha256']}")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return StageResult("", stage.name, describe_files(folder), told["facts"], 0.0)


def _find(stage: Stage, name: str, given: dict[str, Path]) -> Path:
    if stage.name == "fetch":
        return given["input"] if name == "model.onnx" else given["input"].parent / name
    parameter, _, rest = name.partition("/")
    if parameter not in given:
        raise CannotReproduce(f"the conversion read files of parameters.{parameter}: "
                              f"give --input {parameter}=FILE_OR_FOLDER")
    return given[parameter] / rest if given[parameter].is_dir() else given[parameter]


def _run(stage: Stage, task: Task, results: dict[str, StageResult], folders: dict[str, Path], host: ToolHost,
         settings: Settings) -> StageResult:
    parameters, out = stage_parameters(task), folders[stage.name]
    job = make_job(stage, parameters, out, results, {name: folders[name] for name in stage.inputs},
                   len(os.sched_getaffinity(0)))
    limits = stage_limits(parameters.get("limits", {}), settings)
    try:
        run = run_child(host, stage.entry, out.parent, job, limits, TaskControl(task))
    except ConversionFailed as error:
        error.stage = stage.name
        raise
    return describe("", stage, out, run, None)


def _differences(result: StageResult, told: dict[str, Any]) -> list[str]:
    if result.output_digest == told["output_digest"]:
        return []
    ours, theirs = ({name: about["sha256"] for name, about in files.items()} for files in (result.files, told["files"]))
    files = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    facts = sorted(name for name in {*result.facts, *told["facts"]}
                   if result.facts.get(name) != told["facts"].get(name))
    return [f"file {name}" for name in files] + [f"fact {name}" for name in facts]


def _deliver(task: Task, manifest: dict[str, Any], result: StageResult, folder: Path, out_dir: Path) -> bool:
    out_dir.mkdir(parents=True, exist_ok=True)
    made = published_names(task, result.files)
    wanted = {entry["path"]: entry["sha256"] for entry in manifest["artefact"]}
    same = True
    for path in sorted({*made, *wanted}):
        equal = path in made and result.files[made[path]]["sha256"] == wanted.get(path)
        if path in made:
            shutil.copyfile(folder / made[path], out_dir / Path(path).name)
        _tell(f"artefact {Path(path).name}", [] if equal else ["its content" if path in made else "it was not made"])
        same = same and equal
    return same


def _tell(what: str, differing: list[str], more: str = "") -> None:
    verdict = f"differs: {'; '.join(differing)}" if differing else "equal"
    print(f"{what:<28} {verdict}{f'  ({more})' if more else ''}", flush=True)


def main(arguments: list[str]) -> int:
    cli = argparse.ArgumentParser(prog="worker.reproduce", description="make an artefact again from its manifest")
    cli.add_argument("manifest", type=Path)
    cli.add_argument("model", type=Path, help="with its external data files beside it, if it has any")
    cli.add_argument("out_dir", type=Path)
    cli.add_argument("--calibration", type=Path, metavar="FOLDER_OR_ZIP", help="the set, where it was quantized")
    cli.add_argument("--input", action="append", default=[], metavar="PARAMETER=PATH",
                     help="a file or folder that another parameter names")
    options = cli.parse_args(arguments)
    given = {"input": options.model} | {name: Path(path) for name, _, path in (
        text.partition("=") for text in options.input)}
    if options.calibration:
        given["calibration"] = options.calibration
    try:
        manifest = json.loads(options.manifest.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory(prefix="reproduce-") as work:
            return int(not reproduce(manifest, given, options.out_dir, get_settings(), Path(work)))
    except (CannotReproduce, WrongSettings, OSError, ValueError) as error:
        print(f"cannot reproduce: {error}", file=sys.stderr)
        return 2
    except ConversionFailed as error:
        print(f"stage {error.stage} failed: {error.code}: {error.en}\n{error.log_tail}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
