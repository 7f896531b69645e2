"""Runs one claimed task: looks up the stages that are done, runs the next, records it, to the end or an interruption.

Nothing here knows a target: the plan is the target's own.
"""
from __future__ import annotations

import errno
import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.documents import OwnersWait, StageRecord, StoredFailure, Task, TaskResult
from shared.errors import AppError, ConversionFailed, NotFound, Unavailable
from shared.files import Files
from shared.outputs import artefact_paths, own_folder, paths_beside
from shared.rules.bilingual import Bilingual
from shared.settings import Settings
from worker import reasons
from worker.cache import StageCache, StageResult, describe_files, place_files, seal
from worker.context import CoreContext, InputChanged
from worker.control import TaskControl, Wanted
from worker.keys import stage_key
from worker.lease import Lease
from worker.log_sharer import LogSharer
from worker.parameters import stage_parameters
from worker.plan import CORE, Plan, Stage, load_entry
from worker.process import ToolHost
from worker.process_trees import count_oom_kills
from worker.recorder import Recorder
from worker.single_flight import SingleFlight
from worker.stages.common import ONNX
from worker.stages.fetch import companion_etags, fetch_key
from worker.stages.publish import withdraw
from worker.toolchains import Toolchain
from worker.watch import Interrupted, StageLimits, StageRun

log = logging.getLogger(__name__)

STAGE_DISK_BYTES = 32 << 30
KILLED_ATTEMPTS = 3  # of a stage that somebody else killed, most often the kernel for want of memory
AGAIN_LIMIT = 5  # how often a task's input may change, or its cached results be lost, under its feet


class ResultLost(Exception):
    """A finished stage's files are in no cache any more: the stage has to run again."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(frozen=True)
class Tools:
    """What all of a worker's tasks share."""

    settings: Settings
    files: Files
    cache: StageCache
    hosts: dict[str, ToolHost]
    toolchains: dict[str, Toolchain]  # by environment, as the hosts
    threads: int
    logs: LogSharer
    flights: SingleFlight


class TaskRunner:
    """One claim of one task, in the thread that calls `run`."""

    def __init__(self, tools: Tools, plan: Plan, lease: Lease, folder: Path) -> None:
        self._tools, self._plan, self._lease, self._folder = tools, plan, lease, folder
        self._task: Task = lease.task
        self._control: TaskControl = lease.control
        self._parameters = stage_parameters(self._task)
        self._stages = plan.stages_for(self._task.parameters)
        self._recorded = {record.name: record for record in self._task.stages}
        self._results: dict[str, StageResult] = {}
        self._held: dict[str, Path] = {}  # files of results that may be in no shared cache yet
        self._recorder = Recorder(tools.cache, lease)
        self._claimed_etags: dict[str, str | None] = {}
        self._published: dict[str, str] = {}
        self._origins: dict[str, Any] = {}  # stage -> the versions of the objects that its key speaks of
        self._looked = False
        self._times_again = 0
        self._stage: str | None = None

    def run(self) -> None:
        """To the end, or to wherever the task stops being ours. Leaves no directory and no process."""
        try:
            self._folder.mkdir(parents=True)
            self._run_to_an_end()
        except ConversionFailed as error:
            self._fail(error)
        except Unavailable as error:
            log.warning("a dependency is away, the task is given back: %s", error, extra=self._labels())
            self._give_back("files" if error.dependency == "files" else None)
        except Exception as error:
            log.exception("the stage failed inside the worker", extra=self._labels())
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._fail(ConversionFailed(reasons.DISK_FULL()))
            else:
                what = error.text if isinstance(error, AppError) else type(error).__name__
                self._fail(ConversionFailed(reasons.INTERNAL_ERROR(what=what)))
        finally:
            self._recorder.close()
            if self._control.wanted is Wanted.STOP and self._lease.was_dropped():
                self._withdraw()
                if self._lease.is_gone():
                    self._tools.logs.remove(self._task.id)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _run_to_an_end(self) -> None:
        while True:
            try:
                self._look_at_output()
                self._run_stages()
                return self._complete()
            except Interrupted:
                self._recorder.settle()
                if self._leave():
                    return None
                self._control.give_up = False  # it was resumed first, and goes on here

    def _look_at_output(self) -> None:
        """What lies at the output now. The write that follows proves that this claim was still the newest."""
        if self._looked:
            return
        everything = [*artefact_paths(self._task), *paths_beside(self._task).values()]
        if own_folder(self._task):
            self._claimed_etags = dict.fromkeys(everything)  # what an earlier claim has left there is written over
        else:
            with ThreadPoolExecutor(len(everything)) as pool:  # their round trips side by side
                for path, info in zip(everything, pool.map(self._tools.files.stat, everything), strict=True):
                    self._claimed_etags[path] = info.etag if info else None
        self._begin(next(stage for stage in self._stages if stage.name not in self._recorded))
        self._looked = True

    def _run_stages(self) -> None:
        while stage := next((s for s in self._stages if s.name not in self._results), None):
            try:
                self._run_stage(stage)
            except (ResultLost, InputChanged) as reason:
                self._times_again += 1
                if self._times_again > AGAIN_LIMIT:
                    raise ConversionFailed(reasons.INPUT_UNSTABLE(count=AGAIN_LIMIT, why=reason.text)) from reason
                log.warning("starting again: %s", reason, extra=self._labels())

    # --- one stage --------------------------------------------------------------------------------------------------

    def _run_stage(self, stage: Stage) -> None:
        self._check_boundary()
        recorded = self._recorded.get(stage.name)
        key = recorded.key if recorded else self._key(stage)
        result = self._tools.cache.find(key) if stage.cached else None
        if result is not None and recorded is None and stage.name == "fetch":
            key, result = self._revalidate_fetch(result, key)
        cached = result is not None
        if result is None:
            self._begin(stage)
            result, cached = self._compute_once(stage, self._key(stage) if recorded else key)
        if cached and recorded is None and not self._tools.cache.is_shared(key):
            self._hold(result)
        self._results[stage.name] = result
        self._control.progress = self._percent(0, 0)
        record = recorded if recorded and cached else StageRecord(
            name=stage.name, key=result.key, output_digest=result.output_digest, seconds=result.seconds, cached=cached,
            peak_memory_bytes=result.peak_memory_bytes)
        folder = self._held.get(stage.name)
        # Publishing counts as finished only together with the task.
        self._recorder.add(record, known=not stage.cached or record is recorded, result=result if folder else None,
                           folder=folder)
        log.info("stage finished", extra=self._labels() | {"stage": stage.name, "seconds": record.seconds,
                                                           "cached": cached, "key": result.key})

    def _begin(self, stage: Stage) -> None:
        if self._stage == stage.name:
            return
        while not self._lease.begin_stage(stage.name):
            self._check_boundary()
        self._stage = stage.name

    def _compute_once(self, stage: Stage, key: str) -> tuple[StageResult, bool]:
        """The stage's result, and whether another task's run of it has made it meanwhile."""
        if not stage.cached:
            return self._compute(stage, key), False
        with self._tools.flights.alone(key, self._control, self._check_boundary,
                                       lambda: self._lease.waiting("stage")):
            found = self._tools.cache.find_here(key)
            return (found, True) if found else (self._compute(stage, key), False)

    def _compute(self, stage: Stage, key: str) -> StageResult:
        folder = self._folder / stage.name
        shutil.rmtree(folder, ignore_errors=True)  # an interrupted run's
        out = folder / "run" / "out"
        out.mkdir(parents=True)
        input_dirs = {name: folder / "in" / name for name in stage.inputs}
        for name, path in input_dirs.items():
            self._place(self._results[name], path)
        if stage.environment == CORE:
            run = self._run_core(stage, out, input_dirs)
        else:
            job = self._job(stage, out, input_dirs)
            run = self._run_child(stage.environment, stage.entry, folder / "run", job, stage.weight)
        toolchain = self._tools.toolchains.get(stage.environment)
        result = StageResult(key, stage.name, describe_files(out), run.facts, run.seconds, run.peak_memory_bytes,
                             toolchain.versions if toolchain else {})
        if stage.cached:
            seal(result, out)
            self._tools.cache.keep(result, out)
            self._held[stage.name] = self._held_folder(stage.name)
            out.rename(self._held[stage.name])
        shutil.rmtree(folder, ignore_errors=True)
        return result

    def _held_folder(self, name: str) -> Path:
        folder = self._folder / "held" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        return folder

    def _hold(self, result: StageResult) -> None:
        """Keep hold of a result that only this machine has, until it is shared."""
        folder = self._held_folder(result.stage)
        self._place(result, folder)
        self._held[result.stage] = folder

    def _place(self, result: StageResult, target: Path) -> None:
        try:
            held = self._held.get(result.stage)
            if held:
                place_files(result, held, target)
            else:
                self._tools.cache.place(result, target)
        except NotFound as error:
            for known in (self._recorded, self._results, self._held):
                known.pop(result.stage, None)
            raise ResultLost(error.text) from error

    def _run_core(self, stage: Stage, out: Path, input_dirs: dict[str, Path]) -> StageRun:
        def call(entry: str, folders: dict[str, Path]) -> dict[str, Any]:
            scan = out.parent / "call"
            scan.mkdir()
            job = {"parameters": {}, "output_dir": str(scan / "out"), "threads": 1,
                   "inputs": {name: {"dir": str(path), "facts": {}} for name, path in folders.items()}}
            return self._run_child(ONNX.name, entry, scan, job, 0).facts

        def report(percent: float, text: str) -> None:
            self._report(stage.weight, percent, text)
            if self._control.wanted is Wanted.STOP or self._control.give_up:
                raise Interrupted

        started = time.monotonic()
        facts = load_entry(stage.entry)(CoreContext(
            task=self._task, settings=self._tools.settings, files=self._tools.files, output_dir=out,
            inputs={name: self._results[name] for name in stage.inputs}, input_dirs=input_dirs,
            stages=self._stages, records=self._recorder.records, results=self._results,
            toolchains=self._tools.toolchains, parameters=self._read_parameters(stage),
            origin=self._origins.get(stage.name, {}), claimed_etags=self._claimed_etags, published=self._published,
            is_ours=self._lease.confirm, report=report, call=call))
        return StageRun(facts, round(time.monotonic() - started, 3), 0)

    def _run_child(self, environment: str, entry: str, folder: Path, job: dict[str, Any], weight: int) -> StageRun:
        asked, settings = self._parameters.get("limits", {}), self._tools.settings
        limits = StageLimits(
            time_s=min(asked.get("stage_time_s", settings.stage_time_s), settings.stage_time_s),
            memory_bytes=min(asked.get("stage_memory_bytes", settings.stage_memory_bytes), settings.stage_memory_bytes),
            disk_bytes=STAGE_DISK_BYTES, hold_s=settings.hold_s)
        oom_kills, attempt = count_oom_kills(), 0
        while True:
            attempt += 1
            shutil.rmtree(folder)
            Path(job["output_dir"]).mkdir(parents=True)
            try:
                with self._tools.logs.following(self._task.id, str(self._stage), folder / "log.txt"):
                    return self._tools.hosts[environment].run(
                        entry, folder, job, limits, self._control,
                        lambda percent, text: self._report(weight, percent, text))
            except ConversionFailed as error:
                if error.code != "killed":
                    raise
                if attempt == KILLED_ATTEMPTS:
                    if count_oom_kills() > oom_kills:
                        raise ConversionFailed(reasons.KILLED_FOR_MEMORY(), log_tail=error.log_tail) from error
                    raise
                log.warning("a stage was killed from outside, it runs again", extra=self._labels())

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
            inputs = self._origins["fetch"] = fetch_key(self._tools.files, self._task.input_path, companions or {})
        elif stage.origin:
            try:
                inputs = self._origins[stage.name] = load_entry(stage.origin)(self._tools.files,
                                                                              self._read_parameters(stage))
            except ConversionFailed as error:
                error.stage = stage.name
                raise
        toolchain = self._tools.toolchains.get(stage.environment)
        return stage_key(stage, self._plan.platform, toolchain.digest if toolchain else None,
                         self._read_parameters(stage), inputs)

    def _revalidate_fetch(self, found: StageResult, key: str) -> tuple[str, StageResult | None]:
        """The model is unchanged; its external data files may not be. What they are now makes another key."""
        known = found.facts["companions"]
        now = companion_etags(self._tools.files, self._task.input_path, sorted(known))
        if now == known:
            return key, found
        key = self._key(self._stages[0], now)
        return key, self._tools.cache.find(key)

    # --- progress ---------------------------------------------------------------------------------------------------

    def _percent(self, weight: int, stage_percent: float) -> float:
        done = sum(stage.weight for stage in self._stages if stage.name in self._results)
        total = sum(stage.weight for stage in self._stages)
        return round(100.0 * (done + weight * stage_percent / 100.0) / total, 1)

    def _report(self, weight: int, percent: float, text: str) -> None:
        self._control.progress = self._percent(weight, percent)
        log.debug("progress: %s", text, extra=self._labels())

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
            self._check_boundary()

    def _fail(self, error: ConversionFailed) -> None:
        log.info("the task failed: %s", error, extra=self._labels() | {"code": error.code})
        self._recorder.settle()
        self._withdraw_while_ours()
        failure = StoredFailure.of(error.refusal, error.stage or self._stage, error.log_tail)
        while not self._lease.fail(failure):
            if self._leave():
                return

    def _give_back(self, waits_for: OwnersWait | None) -> None:
        self._recorder.settle()
        self._control.release()
        while not self._leave(self._tools.settings.retry_delay_s, waits_for):
            self._control.release()

    def _leave(self, delay_s: float = 0.0, waits_for: OwnersWait | None = None) -> bool:
        """Park, release or just go, as is wanted; False where the task is to go on here (a resume came first)."""
        while True:
            wanted = self._control.wanted
            if wanted in (Wanted.STOP, Wanted.RUN):
                return wanted is Wanted.STOP
            self._withdraw_while_ours()
            if self._lease.park() if wanted is Wanted.PAUSE else self._lease.release(delay_s, waits_for):
                return True

    def _withdraw_while_ours(self) -> None:
        """Before the task is given up: no later claim has seen what is removed."""
        if self._published and self._lease.confirm():
            self._withdraw()

    def _withdraw(self) -> None:
        """Remove what this claim has published: without the task's completion nobody would know of it."""
        self._results.pop("publish", None)
        self._recorder.forget("publish")
        try:
            withdraw(self._tools.files, self._published, self._claimed_etags)
        except Unavailable as error:
            log.warning("published files cannot be removed: %s", error, extra=self._labels() | {
                "files": list(self._published)})
