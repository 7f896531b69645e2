"""Running one stage in its toolchain's host: as the runner does for a task, and `worker.reproduce` for a manifest."""
from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from shared.errors import ConversionFailed
from shared.settings import Settings
from worker import reasons
from worker.control import TaskControl
from worker.plan import Stage
from worker.process import ToolHost, clean_environment
from worker.process_trees import count_oom_kills
from worker.results import StageResult, describe_files
from worker.toolchains import Toolchain
from worker.watch import StageLimits, StageRun

logger = logging.getLogger(__name__)

STAGE_DISK_BYTES = 32 << 30
KILLED_ATTEMPTS = 3  # of a stage that somebody else killed, most often the kernel for want of memory

Report = Callable[[float, str], None]
Following = Callable[[Path], AbstractContextManager[None]]


def make_hosts(toolchains: dict[str, Toolchain], settings: Settings) -> dict[str, ToolHost]:
    """A host for each toolchain, by environment; none is started."""
    environment = clean_environment(settings.toolchain_env)
    return {name: ToolHost(name, toolchain.interpreter, toolchain.environment.preload,
                           environment | toolchain.variables) for name, toolchain in toolchains.items()}


def stage_limits(asked: dict[str, Any], settings: Settings) -> StageLimits:
    """The server's limits, or the smaller ones that the task's parameter `limits` asks for."""
    return StageLimits(
        time_s=min(asked.get("stage_time_s", settings.stage_time_s), settings.stage_time_s),
        memory_bytes=min(asked.get("stage_memory_bytes", settings.stage_memory_bytes), settings.stage_memory_bytes),
        disk_bytes=STAGE_DISK_BYTES, hold_s=settings.hold_s)


def declared(stage: Stage, parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of the task's parameters that the stage declares."""
    return {name: parameters.get(name) for name in stage.parameters}


def make_job(stage: Stage, parameters: dict[str, Any], out: Path, inputs: dict[str, StageResult],
             input_dirs: dict[str, Path], threads: int) -> dict[str, Any]:
    """What a stage's function gets (docs/new-target.md): plain JSON."""
    return {"parameters": declared(stage, parameters), "output_dir": str(out), "threads": threads,
            "inputs": {name: {"dir": str(path), "facts": inputs[name].facts} for name, path in input_dirs.items()}}


def run_child(host: ToolHost, entry: str, folder: Path, job: dict[str, Any], limits: StageLimits, control: TaskControl,
              report: Report = lambda percent, text: None, following: Following = lambda log_path: nullcontext(),
              ) -> StageRun:
    """Run `entry` in a child of the host. `folder` is emptied first; inside `following` its log grows.

    A child that somebody else killed runs again, twice at most.

    Raises:
        ConversionFailed: the stage failed, or its child was killed each time (`killed`; `out_of_memory` where the
            kernel has counted a kill for want of memory meanwhile).
        Interrupted: the task is not to go on.
    """
    oom_kills, attempt = count_oom_kills(), 0
    while True:
        attempt += 1
        shutil.rmtree(folder, ignore_errors=True)
        Path(job["output_dir"]).mkdir(parents=True)
        try:
            with following(folder / "log.txt"):
                return host.run(entry, folder, job, limits, control, report)
        except ConversionFailed as error:
            if error.code != "killed":
                raise
            if attempt == KILLED_ATTEMPTS:
                if count_oom_kills() > oom_kills:
                    raise ConversionFailed(reasons.KILLED_FOR_MEMORY(), log_tail=error.log_tail) from error
                raise
            logger.warning("a stage was killed from outside, it runs again", extra={"entry": entry})


def describe(key: str, stage: Stage, out: Path, run: StageRun, toolchain: Toolchain | None,
             digests: Mapping[str, str] | None = None) -> StageResult:
    """The result of a run whose files lie below `out`; the `digests` of some are known."""
    return StageResult(key, stage.name, describe_files(out, digests), run.facts, run.seconds, run.peak_memory_bytes,
                       toolchain.versions if toolchain else {})
