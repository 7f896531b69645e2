"""Finding a stage's result: its key, and the entry of the cache that has it. Which recorded results may be used."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from shared.documents import StageRecord
from shared.errors import ConversionFailed
from worker.execution import declared
from worker.keys import form_of, stage_key
from worker.plan import Stage, load_entry
from worker.results import StageResult
from worker.tools import Tools


def usable_records(stages: Sequence[Stage], records: Sequence[StageRecord]) -> dict[str, StageRecord]:
    """Those of a task's records whose results this version can read, by stage: of the same form, as are those of all
    the stages that it depends on. What is no key addresses nothing."""
    by_name = {record.name: record for record in records}
    usable: dict[str, StageRecord] = {}
    for stage in stages:
        record = by_name.get(stage.name)
        if record and stage.cached and form_of(record.key) == stage.form and usable.keys() >= set(stage.inputs):
            usable[stage.name] = record
    return usable


class StageLookup:
    """For one claim. What it finds on this machine is held in `holds`, so that the cache does not evict it."""

    def __init__(self, tools: Tools, platform: str, parameters: dict[str, Any], holds: ExitStack) -> None:
        self._tools, self._platform, self._parameters, self._holds = tools, platform, parameters, holds

    def find(self, stage: Stage, results: dict[str, StageResult],
             recorded: StageRecord | None = None) -> tuple[str, dict[str, Any], StageResult | None]:
        """The stage's key, the versions of the objects that the key names, and the result, if the cache has it.

        `results` are those of the earlier stages. A stage that the task has recorded keeps its recorded key.

        Raises:
            ConversionFailed: an object that the key would name is not there.
            Unavailable: the object store does not answer.
        """
        if recorded:
            return recorded.key, {}, self.hold(self._tools.cache.find(recorded.key))
        versions = self._call(stage, stage.origin) if stage.origin else {}
        key = self._key(stage, results, versions)
        if not stage.cached:
            return key, versions, None
        result = self._tools.cache.find(key)
        if result and stage.renewed and (now := self._call(stage, stage.renewed, result.facts)) is not None:
            key, versions = self._key(stage, results, now), now
            result = self._tools.cache.find(key)
        return key, versions, self.hold(result)

    def foreign(self, stages: Sequence[Stage], results: dict[str, StageResult]) -> set[str]:
        """The stages whose results this code and this toolchain would not have given their keys, with all that depend
        on them. A changed upload counts too.

        Raises:
            Unavailable: the object store does not answer.
        """
        found: set[str] = set()
        for stage in stages:
            if stage.name in results and stage.cached and (
                    found & set(stage.inputs) or self._key_now(stage, results) != results[stage.name].key):
                found.add(stage.name)
        return found

    def _key_now(self, stage: Stage, results: dict[str, StageResult]) -> str | None:
        try:
            versions = self._call(stage, stage.origin) if stage.origin else {}
            if stage.renewed and (now := self._call(stage, stage.renewed, results[stage.name].facts)) is not None:
                versions = now
            return self._key(stage, results, versions)
        except (ConversionFailed, LookupError, TypeError, ValueError, AttributeError):
            return None  # the upload is gone, or the facts are in a form that this code cannot read

    def hold(self, result: StageResult | None) -> StageResult | None:
        """The result, which the cache keeps while this claim lasts, if it is on this machine."""
        if result and (hold := self._tools.cache.hold(result.key)):
            self._holds.enter_context(hold)
        return result

    def _call(self, stage: Stage, entry: str, *facts: dict[str, Any]) -> Any:
        try:
            return load_entry(entry)(self._tools.files, declared(stage, self._parameters), *facts)
        except ConversionFailed as error:
            error.stage = stage.name
            raise

    def _key(self, stage: Stage, results: dict[str, StageResult], versions: dict[str, Any]) -> str:
        toolchain = self._tools.toolchains.get(stage.environment)
        inputs = versions if stage.origin else {name: results[name].output_digest for name in stage.inputs}
        return stage_key(stage, self._platform, toolchain.digest if toolchain else None,
                         declared(stage, self._parameters), inputs)
