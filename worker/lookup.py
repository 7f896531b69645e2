"""Finding a stage's result: its key, and the entry of the cache that has it. Which recorded results may be used."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from shared.documents import StageRecord, stored_tenant
from shared.errors import ConversionFailed
from worker import reasons
from worker.execution import declared
from worker.keys import form_of, stage_key
from worker.plan import load_entry
from worker.refused import as_result, is_of_this_run, is_refused, refusal_key, refused_code
from worker.results import StageResult
from worker.steps import Step
from worker.tools import Tools

NO_FILES = Path("/nonexistent")  # where the files of a result lie that has none


def usable_records(steps: Sequence[Step], records: Sequence[StageRecord]) -> dict[str, StageRecord]:
    """Those of a task's records whose results this version can read, by step: of the same form, as are those of all
    the steps that it depends on. What is no key addresses nothing."""
    by_name = {record.name: record for record in records}
    usable: dict[str, StageRecord] = {}
    for step in steps:
        record = by_name.get(step.name) or by_name.get(step.refused_name)
        if record and step.stage.cached and form_of(record.key) == step.stage.form and (
                usable.keys() >= set(step.inputs.values())):
            usable[step.name] = record
    return usable


class StageLookup:
    """For one claim. What it finds on this machine is held in `holds`, so that the cache does not evict it. `results`
    are always those of the earlier steps, by the steps' names."""

    def __init__(self, tools: Tools, platform: str, holds: ExitStack) -> None:
        self._tools, self._platform, self._holds = tools, platform, holds

    def find(self, step: Step, results: dict[str, StageResult],
             recorded: StageRecord | None = None) -> tuple[str, dict[str, Any], StageResult | None]:
        """The stage's key, the versions of the objects that the key names, and the result, if the cache has it: what
        an attempt's stage has refused is one too.

        A step that the task has recorded keeps its recorded key.

        Raises:
            ConversionFailed: an object that the key would name is not there, or is another version of the upload that
                has started the task.
            Unavailable: the object store does not answer.
        """
        if recorded:
            return recorded.key, {}, self.hold(self._tools.cache.find(recorded.key))
        stage = step.stage
        versions = self._call(step, stage.origin) if stage.origin else {}
        _check_source(step, versions)
        key = self._key(step, results, versions)
        if not stage.cached:
            return key, versions, None
        result = self._tools.cache.find(key)
        if result and stage.renewed and (now := self._call(step, stage.renewed, result.facts)) is not None:
            _check_source(step, now)
            key, versions = self._key(step, results, now), now
            result = self._tools.cache.find(key)
        if result is None and self._shares_refusals(step):
            result = self._tools.cache.find(refusal_key(key))
        return key, versions, self.hold(result)

    def find_here(self, step: Step, key: str) -> StageResult | None:
        """What another task of this machine has made meanwhile."""
        cache = self._tools.cache
        refused = cache.find_here(refusal_key(key)) if self._shares_refusals(step) else None
        return self.hold(cache.find_here(key) or refused)

    def keep_refusal(self, step: Step, key: str, error: ConversionFailed) -> StageResult:
        """What has ended an attempt, as the result of its step. Its own result would have had the `key`."""
        toolchain = self._tools.toolchains.get(step.stage.environment)
        refused = as_result(key, step.name, _owner(step, error.code), error, toolchain.versions if toolchain else {})
        result, hold = self._tools.cache.keep(refused, NO_FILES)
        self._holds.enter_context(hold)
        return result

    def foreign(self, steps: Sequence[Step], results: dict[str, StageResult]) -> set[str]:
        """The steps whose results this code and this toolchain would not have given their keys, with all that depend
        on them. A changed upload counts too.

        Raises:
            Unavailable: the object store does not answer.
        """
        found: set[str] = set()
        for step in steps:
            if step.name in results and step.stage.cached and (
                    found & set(step.inputs.values()) or self._key_now(step, results) != results[step.name].key):
                found.add(step.name)
        return found

    def _key_now(self, step: Step, results: dict[str, StageResult]) -> str | None:
        stage, result = step.stage, results[step.name]
        try:
            versions = self._call(step, stage.origin) if stage.origin else {}
            if stage.renewed and (now := self._call(step, stage.renewed, result.facts)) is not None:
                versions = now
            key = self._key(step, results, versions)
            if is_refused(result):
                return refusal_key(key, _owner(step, refused_code(result) or ""))
            return key
        except (ConversionFailed, LookupError, TypeError, ValueError, AttributeError):
            return None  # the upload is gone, or the facts are in a form that this code cannot read

    def hold(self, result: StageResult | None) -> StageResult | None:
        """The result, which the cache keeps while this claim lasts, if it is on this machine."""
        if result and (hold := self._tools.cache.hold(result.key)):
            self._holds.enter_context(hold)
        return result

    def _call(self, step: Step, entry: str, *facts: dict[str, Any]) -> Any:
        try:
            return load_entry(entry)(self._tools.files, declared(step.stage, step.parameters), *facts)
        except ConversionFailed as error:
            error.stage = step.name
            raise

    def _key(self, step: Step, results: dict[str, StageResult], versions: dict[str, Any]) -> str:
        stage = step.stage
        toolchain = self._tools.toolchains.get(stage.environment)
        inputs = versions if stage.origin else {
            name: result.output_digest for name, result in step.pick(results).items()}
        return stage_key(stage, self._platform, toolchain.digest if toolchain else None,
                         declared(stage, step.parameters), inputs,
                         None if self._tools.settings.cache_shared else stored_tenant(step.task.tenant))

    @staticmethod
    def _shares_refusals(step: Step) -> bool:
        return step.tries and not step.names_task


def _check_source(step: Step, versions: dict[str, Any]) -> None:
    """A task is of one version of the upload that has started it: its manifest names that one, and another version has
    a task of its own.

    Raises:
        ConversionFailed: `input_replaced`.
    """
    source, now = step.task.source, versions.get("etag")
    if source is not None and now not in (None, source.etag):
        raise ConversionFailed(reasons.UPLOAD_REPLACED(path=step.task.input_path, taken=source.etag, now=now),
                               stage=step.name)


def _owner(step: Step, code: str) -> str:
    """The id of the task to which a refusal with this code belongs; empty where it is every task's."""
    return step.task.id if step.names_task or is_of_this_run(code) else ""
