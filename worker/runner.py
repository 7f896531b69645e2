"""Runs one claimed task: looks up the stages that are done, runs the next, records it, to the end or an interruption.

Nothing here knows a target: the plan is the target's own.
"""
from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from shared.errors import AppError, ConversionFailed, Unavailable
from shared.files import Files
from shared.models import StageRecord, Task, TaskFailure, TaskResult
from shared.platforms.shapes import parse_input_shape
from shared.settings import Settings
from worker.cache import StageCache, StageResult, describe_files
from worker.context import CoreContext
from worker.control import TaskControl, Wanted
from worker.keys import stage_key
from worker.lease import Lease
from worker.plan import CORE, Plan, Stage
from worker.process import Interrupted, StageLimits, StageRun, ToolHost
from worker.recorder import Recorder
from worker.stages.common import ONNX
from worker.stages.fetch import companion_etags, fetch_key
from worker.stages.publish import output_paths

log = logging.getLogger(__name__)

STAGE_DISK_BYTES = 32 << 30


@dataclass(frozen=True)
class Tools:
    """What all of a worker's tasks share."""

    settings: Settings
    files: Files
    cache: StageCache
    hosts: dict[str, ToolHost]
    versions: dict[str, dict[str, str]]  # environment -> {tool: version}
    lock_digests: dict[str, str]  # environment -> digest of its lock file
    threads: int


class TaskRunner:
    """One claim of one task, in the thread that calls `run`."""

    def __init__(self, tools: Tools, plan: Plan, lease: Lease, folder: Path) -> None:
        self._tools, self._plan, self._lease, self._folder = tools, plan, lease, folder
        self._task: Task = lease.task
        self._control: TaskControl = lease.control
        self._parameters = dict(self._task.parameters)
        if "input_shape" in self._parameters:
            self._parameters["input_shape"] = parse_input_shape(self._parameters["input_shape"])
        self._results: dict[str, StageResult] = {}
        self._recorder = Recorder(tools.cache, lease)
        self._done_weight = 0
        self._claimed_etags: dict[str, str | None] = {}
        self._stage: str | None = None

    def run(self) -> None:
        """To the end, or to wherever the task stops being ours. Never raises; leaves no directory and no process."""
        try:
            self._folder.mkdir(parents=True)
            while True:
                try:
                    self._look_at_output()
                    self._run_stages()
                    return self._complete()
                except Interrupted:
                    self._recorder.settle()
                    if self._leave():
                        return None
        except ConversionFailed as error:
            self._recorder.settle()
            self._fail(TaskFailure(code=error.code, stage=error.stage or self._stage, vendor_code=error.vendor_code,
                                   message=str(error), hint=error.hint, log_tail=error.log_tail))
        except Unavailable as error:
            log.warning("a dependency is away, the task is given back: %s", error, extra=self._labels())
            self._recorder.settle()
            self._control.release()
            self._leave(delay_s=self._tools.settings.retry_delay_s)
        except Exception as error:
            log.exception("the stage failed inside the worker", extra=self._labels())
            text = error.en if isinstance(error, AppError) else type(error).__name__
            self._fail(TaskFailure(code="internal_error", stage=self._stage, message=f"internal error: {text}",
                                   hint="the worker's log has the details"))
        finally:
            self._recorder.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _look_at_output(self) -> None:
        """What lies at the output now. The write that follows proves that this claim was still the newest."""
        if not self._claimed_etags:
            paths, manifest_path = output_paths(self._task)
            for path in [*paths, manifest_path]:
                info = self._tools.files.stat(path)
                self._claimed_etags[path] = info.etag if info else None
        recorded = {record.name for record in self._task.stages}
        self._begin(next(stage for stage in self._plan.stages if stage.name not in recorded))

    def _run_stages(self) -> None:
        for stage in self._plan.stages:
            if stage.name not in self._results:
                self._run_stage(stage)

    # --- one stage --------------------------------------------------------------------------------------------------

    def _run_stage(self, stage: Stage) -> None:
        self._check_boundary()
        recorded = next((r for r in self._task.stages if r.name == stage.name), None)
        key = recorded.key if recorded else self._key(stage)
        result = self._tools.cache.find(key) if stage.cached else None
        if result is not None and recorded is None and stage.name == "fetch":
            key, result = self._revalidate_fetch(result, key)
        cached = result is not None
        if result is None:
            self._begin(stage)
            result = self._compute(stage, key)
        self._results[stage.name] = result
        self._done_weight += stage.weight
        self._control.progress = self._percent(0, 0)
        record = recorded or StageRecord(name=stage.name, key=key, output_digest=result.output_digest,
                                         seconds=result.seconds, cached=cached,
                                         peak_memory_bytes=result.peak_memory_bytes)
        self._recorder.add(record, result, new=not cached and stage.cached, known=recorded is not None)

    def _begin(self, stage: Stage) -> None:
        if self._stage == stage.name:
            return
        while not self._lease.begin_stage(stage.name):
            self._check_boundary()
        self._stage = stage.name

    def _compute(self, stage: Stage, key: str) -> StageResult:
        folder = self._folder / stage.name
        out = folder / "run" / "out"
        out.mkdir(parents=True)
        input_dirs = {name: folder / "in" / name for name in stage.inputs}
        for name, path in input_dirs.items():
            self._tools.cache.place(self._results[name], path)
        if stage.environment == CORE:
            run = self._run_core(stage, out, input_dirs)
        else:
            job = self._job(stage, out, input_dirs)
            run = self._run_child(stage.environment, stage.entry, folder / "run", job, stage.weight)
        result = StageResult(key, stage.name, describe_files(out), run.facts, run.seconds, run.peak_memory_bytes,
                             self._tools.versions.get(stage.environment, {}))
        if stage.cached:
            self._tools.cache.keep(result, out)
        shutil.rmtree(folder, ignore_errors=True)
        return result

    def _run_core(self, stage: Stage, out: Path, input_dirs: dict[str, Path]) -> StageRun:
        def call(entry: str, folders: dict[str, Path]) -> dict[str, Any]:
            scan = self._folder / f"{stage.name}-call"
            scan.mkdir()
            job = {"parameters": {}, "output_dir": str(scan), "threads": 1,
                   "inputs": {name: {"dir": str(path), "facts": {}} for name, path in folders.items()}}
            return self._run_child(ONNX.name, entry, scan, job, 0).facts

        started = time.monotonic()
        module, _, function = stage.entry.partition(":")
        facts = getattr(import_module(module), function)(CoreContext(
            task=self._task, settings=self._tools.settings, files=self._tools.files, output_dir=out,
            inputs={name: self._results[name] for name in stage.inputs}, input_dirs=input_dirs,
            records=self._recorder.records, results=self._results, claimed_etags=self._claimed_etags,
            report=lambda percent, text: self._report(stage.weight, percent, text), call=call))
        return StageRun(facts, round(time.monotonic() - started, 3), 0)

    def _run_child(self, environment: str, entry: str, folder: Path, job: dict[str, Any], weight: int) -> StageRun:
        limits = self._parameters.get("limits", {})
        settings = self._tools.settings
        return self._tools.hosts[environment].run(
            entry, folder, job,
            StageLimits(time_s=min(limits.get("stage_time_s", settings.stage_time_s), settings.stage_time_s),
                        memory_bytes=min(limits.get("stage_memory_bytes", settings.stage_memory_bytes),
                                         settings.stage_memory_bytes),
                        disk_bytes=STAGE_DISK_BYTES, hold_s=settings.hold_s),
            self._control, lambda percent, text: self._report(weight, percent, text))

    def _job(self, stage: Stage, out: Path, input_dirs: dict[str, Path]) -> dict[str, Any]:
        return {"parameters": self._read_parameters(stage), "output_dir": str(out), "threads": self._tools.threads,
                "inputs": {name: {"dir": str(path), "facts": self._results[name].facts}
                           for name, path in input_dirs.items()}}

    # --- keys -------------------------------------------------------------------------------------------------------

    def _read_parameters(self, stage: Stage) -> dict[str, Any]:
        return {name: self._parameters.get(name) for name in stage.parameters}

    def _key(self, stage: Stage, companions: dict[str, str] | None = None) -> str:
        inputs: Any = {name: self._results[name].output_digest for name in stage.inputs}
        if stage.name == "fetch":
            inputs = fetch_key(self._tools.files, self._task.input_path, companions or {})
        return stage_key(stage, self._plan.platform, self._tools.lock_digests.get(stage.environment),
                         self._read_parameters(stage), inputs)

    def _revalidate_fetch(self, found: StageResult, key: str) -> tuple[str, StageResult | None]:
        """The model is unchanged; its external data files may not be. What they are now makes another key."""
        known = found.facts["companions"]
        now = companion_etags(self._tools.files, self._task.input_path, sorted(known))
        if now == known:
            return key, found
        key = self._key(self._plan.stages[0], now)
        return key, self._tools.cache.find(key)

    # --- progress ---------------------------------------------------------------------------------------------------

    def _percent(self, weight: int, stage_percent: float) -> float:
        total = sum(stage.weight for stage in self._plan.stages)
        return round(100.0 * (self._done_weight + weight * stage_percent / 100.0) / total, 1)

    def _report(self, weight: int, percent: float, text: str) -> None:
        self._control.progress = self._percent(weight, percent)
        self._control.progress_text = text

    def _labels(self) -> dict[str, str | None]:
        return {"task_id": self._task.id, "stage": self._stage, "platform": self._task.platform,
                "worker": self._lease.owner}

    # --- endings ----------------------------------------------------------------------------------------------------

    def _check_boundary(self) -> None:
        """Raises `Interrupted` where something else than running is wanted."""
        if self._control.wanted is not Wanted.RUN:
            raise Interrupted

    def _complete(self) -> None:
        records = self._recorder.flush()
        result = TaskResult.model_validate(self._results["publish"].facts)
        while not self._lease.complete(result, records):
            if self._leave():
                return

    def _fail(self, error: TaskFailure) -> None:
        log.info("the task failed: %s", error.message, extra=self._labels() | {"code": error.code})
        while not self._lease.fail(error):
            if self._leave():
                return

    def _leave(self, delay_s: float = 0.0) -> bool:
        """Park, release or just go, as is wanted; False where the task is to go on here (a resume came first)."""
        while True:
            wanted = self._control.wanted
            if wanted in (Wanted.STOP, Wanted.RUN):
                return wanted is Wanted.STOP
            if self._lease.park() if wanted is Wanted.PAUSE else self._lease.release(delay_s):
                return True
