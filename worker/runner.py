"""Runs one claimed task: looks up the steps that are done, runs the next, records it, to the end or an interruption.

Nothing here knows a target: the plan is the target's own. Which step is next, `worker.attempts` tells.
"""
from __future__ import annotations

import logging
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.documents import StageRecord, Task, TaskResult
from shared.errors import ConversionFailed, Damaged, NotFound
from shared.rules.bilingual import Bilingual
from worker import reasons
from worker.attempt_table import make_rows, none_passes, time_is_over
from worker.context import CoreContext, InputChanged
from worker.control import TaskControl, Wanted
from worker.ending import Ending
from worker.execution import declared, describe, make_job, run_child, stage_limits
from worker.lease import Lease
from worker.lookup import StageLookup, usable_records
from worker.parameters import in_this_version
from worker.plan import CORE, Plan, load_entry
from worker.publication import Publication
from worker.recorder import Recorder
from worker.refused import refused_code
from worker.results import StageResult
from worker.second_try import make_attempts
from worker.steps import Step
from worker.tags import tag_ended
from worker.tools import Tools
from worker.watch import Interrupted, StageRun

logger = logging.getLogger(__name__)

AGAIN_LIMIT = 5  # how often a task's input may change, or its cached results be lost, under its feet


OTHER_VERSION = Bilingual("另一版本的阶段结果无法使用", "stage results of another version cannot be used")


class ResultLost(Exception):
    """A finished stage's result is in no cache any more, or cannot be used: the stage has to run again."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text


class TaskRunner:
    """One claim of one task, in the thread that calls `run`."""

    def __init__(self, tools: Tools, plan: Plan, lease: Lease, folder: Path) -> None:
        self._tools, self._plan, self._lease, self._folder = tools, plan, lease, folder
        self._task: Task = lease.task
        self._control: TaskControl = lease.control
        self._results: dict[str, StageResult] = {}  # by step
        self._holds = ExitStack()  # on the cache's entries of these results
        self._recorder = Recorder(tools.cache, lease)
        self._publication = Publication(tools.files, self._task, lease.confirm, lease.is_live,
                                        lease.may_tell_of)
        self._ending = Ending(tools.settings, lease, self._recorder, self._publication, self._results)
        self._times_again = 0
        self._stage: str | None = None

    def run(self) -> None:
        """To the end, or to wherever the task stops being ours. Leaves no directory and no process."""
        try:
            self._folder.mkdir(parents=True)
            self._read_task()
            self._run_to_an_end()
        except Exception as error:
            self._ending.because_of(error, self._stage, self._labels())
        finally:
            self._recorder.close()
            self._holds.close()
            self._tools.cache.trim()
            if self._control.wanted is Wanted.STOP and self._lease.was_dropped():
                self._ending.withdraw()
                if self._lease.is_gone():
                    self._tools.logs.remove(self._task.id)
                    self._tools.cache.of_deleted.append(
                        (self._task.id, [result.key for result in self._results.values()]))
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._task.source is not None and (ended := self._lease.ended()):
                tag_ended(ended, self._task.source, self._tools.files)

    def _read_task(self) -> None:
        """What the document asks for, which may be of another version."""
        self._task = in_this_version(self._task, self._plan)
        self._attempts = make_attempts(self._plan, self._task)
        self._recorded = usable_records(self._attempts.steps, self._task.stages)
        self._attempts.forget_refusals(self._recorded)
        self._lookup = StageLookup(self._tools, self._plan.platform, self._holds)

    def _run_to_an_end(self) -> None:
        while True:
            try:
                if self._publication.look():  # the write that follows proves that this claim was still the newest
                    self._begin(self._attempts.next_name(self._recorded))
                self._run_steps()
                return self._complete()
            except Interrupted:
                self._recorder.settle()
                if self._ending.leave():
                    return None
                self._control.give_up = False  # it was resumed first, and goes on here
            except (ResultLost, InputChanged) as reason:
                self._start_again(reason)

    def _start_again(self, reason: ResultLost | InputChanged) -> None:
        """With the stages whose results are still there."""
        self._times_again += 1
        if self._times_again > AGAIN_LIMIT:
            raise ConversionFailed(reasons.INPUT_UNSTABLE(count=AGAIN_LIMIT, why=reason.text)) from reason
        logger.warning("starting again: %s", reason, extra=self._labels())

    def _run_steps(self) -> None:
        while step := self._attempts.next_step(self._results):
            self._run_step(step)
        if self._attempts.current(self._results) is None:
            raise none_passes(self._attempts, self._results)

    # --- one step ---------------------------------------------------------------------------------------------------

    def _run_step(self, step: Step) -> None:
        self._check_boundary()
        recorded = self._recorded.get(step.name)
        key, versions, result = self._lookup.find(step, self._results, recorded)
        if recorded and result is None:  # it is lost, and made anew of what is there now
            key, versions, result = self._lookup.find(step, self._results)
        cached = result is not None
        if result is None:
            self._begin(step.name)
            try:
                result, cached = self._compute_once(step, key, versions)
            except Exception as error:
                self._blame_records(error)
                if not (isinstance(error, ConversionFailed) and self._attempts.ends(step, error, self._results)):
                    raise
                logger.info("an attempt has failed: %s", error, extra=self._labels() | {"code": error.code})
                result = self._lookup.keep_refusal(step, key, time_is_over(error, self._attempts, step))
        self._results[step.name] = result
        refused = refused_code(result)
        record = recorded if cached and recorded and recorded.key == result.key else StageRecord(
            name=(refused and step.refused_name) or step.name, key=result.key, output_digest=result.output_digest,
            seconds=result.seconds, cached=cached, peak_memory_bytes=result.peak_memory_bytes, refused=refused)
        self._attempts.note(step, record)
        self._control.progress = self._attempts.percent(self._results, None, 0.0)
        # Publishing counts as finished only together with the task.
        known = not step.stage.cached or record is recorded
        only_here = not known and not (cached and self._tools.cache.is_shared(result.key))
        self._recorder.add(record, known=known, result=result if only_here else None)
        logger.info("stage finished", extra=self._labels() | {"stage": step.name, "seconds": record.seconds,
                                                              "cached": cached, "key": result.key})

    def _blame_records(self, error: Exception) -> None:
        """If a stage has crashed on what other code has recorded, that may have another form than this code expects.

        Raises:
            ResultLost: there are such records; they are not used again, and their stages run anew.
        """
        crashed = error.code == "stage_crashed" if isinstance(error, ConversionFailed) else isinstance(
            error, (LookupError, TypeError, ValueError, AttributeError, FileNotFoundError))
        if not crashed or not any(name in self._recorded for name in self._results):
            return
        foreign = self._lookup.foreign(self._attempts.steps, self._results)
        if not any(name in self._recorded for name in foreign):
            return
        logger.warning("a stage crashed on results of another version, they are made anew: %s", error,
                       extra=self._labels() | {"stages": sorted(foreign)})
        for name in foreign:
            self._results.pop(name)
            self._recorded.pop(name, None)
        raise ResultLost(OTHER_VERSION) from error

    def _begin(self, name: str) -> None:
        if self._stage == name:
            return
        while not self._lease.begin_stage(name):
            self._check_boundary()
        self._stage = name

    def _compute_once(self, step: Step, key: str, versions: dict[str, Any]) -> tuple[StageResult, bool]:
        """The step's result, and whether another task's run of it has made it meanwhile."""
        if not step.stage.cached:
            return self._compute(step, key, versions), False
        with self._tools.flights.alone(key, self._control, self._check_boundary,
                                       lambda: self._lease.waiting("stage")):
            found = self._lookup.find_here(step, key)
            return (found, True) if found else (self._compute(step, key, versions), False)

    def _compute(self, step: Step, key: str, versions: dict[str, Any]) -> StageResult:
        folder, stage = self._folder / step.name, step.stage
        shutil.rmtree(folder, ignore_errors=True)  # an interrupted run's
        out = folder / "run" / "out"
        out.mkdir(parents=True)
        input_dirs = {name: folder / "in" / name for name in step.inputs}
        for name, path in input_dirs.items():
            self._place(step.inputs[name], path)
        digests: dict[str, str] = {}
        if stage.environment == CORE:
            try:
                run = self._run_core(step, out, input_dirs, versions, digests)
            except Damaged as error:  # what it was to publish is not what was compiled
                for name in step.inputs.values():
                    self._tools.cache.discard(self._results[name].key)
                raise ResultLost(error.text) from error
        else:
            job = make_job(stage, step.parameters, out, step.pick(self._results), input_dirs, self._tools.threads)
            run = self._run_child(step, folder / "run", job)
        result = describe(key, stage, out, run, self._tools.toolchains.get(stage.environment), digests)
        if stage.cached:
            result, hold = self._tools.cache.keep(result, out)
            self._holds.enter_context(hold)
        shutil.rmtree(folder, ignore_errors=True)
        return result

    def _place(self, name: str, target: Path) -> None:
        try:
            self._tools.cache.place(self._results[name], target)
        except NotFound as error:
            for known in (self._recorded, self._results):
                known.pop(name, None)
            raise ResultLost(error.text) from error

    def _run_core(self, step: Step, out: Path, input_dirs: dict[str, Path], versions: dict[str, Any],
                  digests: dict[str, str]) -> StageRun:
        def report(percent: float, text: str) -> None:
            self._report(step, percent, text)
            if self._control.wanted is Wanted.STOP or self._control.give_up:
                raise Interrupted

        started, attempts = time.monotonic(), self._attempts
        attempt = attempts.current(self._results) or attempts.attempts[0]
        facts = load_entry(step.stage.entry)(CoreContext(
            task=step.task, settings=self._tools.settings, files=self._tools.files, output_dir=out,
            inputs=step.pick(self._results), input_dirs=input_dirs, stages=attempt.stages,
            records=attempt.records(self._recorder.records), results=attempt.pick(self._results),
            toolchains=self._tools.toolchains, parameters=declared(step.stage, step.parameters), origin=versions,
            publication=self._publication, report=report, requested=self._task.parameters,
            attempts=make_rows(attempts, self._results) if attempts.has_table(self._results) else None,
            digests=digests))
        return StageRun(facts, round(time.monotonic() - started, 3), 0)

    def _run_child(self, step: Step, folder: Path, job: dict[str, Any]) -> StageRun:
        limits = stage_limits(step.parameters.get("limits", {}), self._tools.settings)
        if (left_s := self._attempts.seconds_left(step)) is not None:
            limits = replace(limits, time_s=min(limits.time_s, left_s))
        return run_child(self._tools.hosts[step.stage.environment], step.stage.entry, folder, job, limits,
                         self._control, lambda percent, text: self._report(step, percent, text),
                         lambda path: self._tools.logs.following(self._task.id, str(self._stage), path))

    # --- progress ---------------------------------------------------------------------------------------------------

    def _report(self, step: Step, percent: float, text: str) -> None:
        self._control.progress = self._attempts.percent(self._results, step, percent)
        logger.debug("progress: %s", text, extra=self._labels())

    def _labels(self) -> dict[str, str | None]:
        return {"task_id": self._task.id, "stage": self._stage, "platform": self._task.platform,
                "worker": self._lease.owner}

    # --- the end ----------------------------------------------------------------------------------------------------

    def _check_boundary(self) -> None:
        """Raises `Interrupted` where something else than running is wanted."""
        if self._control.wanted is not Wanted.RUN:
            raise Interrupted

    def _complete(self) -> None:
        try:
            records = self._recorder.flush()
        except NotFound as error:
            self._recorder.start_again()
            self._results.clear()
            raise ResultLost(error.text) from error
        result = TaskResult.model_validate(self._results["publish"].facts)
        while not self._lease.complete(result, records):
            self._check_boundary()
