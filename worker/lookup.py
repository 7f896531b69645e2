"""Finding a stage's result: its key, and the entry of the cache that has it."""
from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from shared.documents import StageRecord
from shared.errors import ConversionFailed
from worker.execution import declared
from worker.keys import stage_key
from worker.plan import Stage, load_entry
from worker.results import StageResult
from worker.tools import Tools


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
