"""The targets with the workers that serve them now."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, core_schema

from shared.api.openapi_targets import tell_places
from shared.api.tasks import live_workers
from shared.documents import WorkerInfo
from shared.platforms import get_platforms
from shared.platforms.base import Platform
from shared.schema import Model
from shared.settings import get_settings
from shared.texts import Language
from shared.times import format_time


@dataclass(frozen=True)
class ParametersSchema:
    """The JSON Schema of a target's parameters; an answer has it in the client's language."""

    platform: Platform

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        write = core_schema.plain_serializer_function_ser_schema(
            _write_schema, info_arg=True, return_schema=core_schema.dict_schema())
        return core_schema.is_instance_schema(cls, serialization=write)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": True}


def _write_schema(schema: ParametersSchema, info: SerializationInfo) -> dict[str, Any]:
    english = schema.platform.parameters.model_json_schema()
    tell_places(english, get_settings())
    chosen: dict[str, Language] = info.context or {}
    return english if chosen.get("language", "zh") == "en" else _translate(english, schema.platform.descriptions_zh)


def _translate(schema: Any, texts: dict[str, str]) -> Any:
    """The schema with its descriptions replaced. A description that has no translation stays."""
    if isinstance(schema, list):
        return [_translate(item, texts) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: texts.get(value, value) if key == "description" and isinstance(value, str)
            else _translate(value, texts) for key, value in schema.items()}


class LiveWorker(Model):
    id: str
    host: str
    slots: int = Field(description="tasks of this target that it runs at once")
    tools: dict[str, str] = Field(description="{tool: version} of its toolchain for this target")
    seen_at: str


class PlatformView(Model):
    """A target. `artefact_suffixes`: the file at `output_path` first, then those that lie beside it."""

    name: str
    title: str
    task_types: list[str]
    input_suffixes: list[str]
    artefact_suffixes: list[str]
    parameters: ParametersSchema = Field(description="JSON Schema of `parameters` in POST /tasks/create")
    tools: dict[str, list[str]] = Field(description="{tool: versions} of the live workers' toolchains")
    workers: list[LiveWorker]


class PlatformList(Model):
    platforms: list[PlatformView]


def list_platforms() -> PlatformList:
    return view_platforms(live_workers())


def view_platforms(workers: list[WorkerInfo]) -> PlatformList:
    """Every target with those of the workers that serve it."""
    return PlatformList(platforms=[
        _view(platform, [worker for worker in workers if platform.name in worker.platforms])
        for platform in get_platforms().values()])


def _view(platform: Platform, workers: list[WorkerInfo]) -> PlatformView:
    versions: dict[str, set[str]] = {}
    for worker in workers:
        for tool, version in worker.platforms[platform.name].items():
            versions.setdefault(tool, set()).add(version)
    return PlatformView(
        name=platform.name, title=platform.title, task_types=list(platform.task_types),
        input_suffixes=list(platform.input_suffixes), artefact_suffixes=[platform.artefact_suffix, *platform.also],
        parameters=ParametersSchema(platform),
        tools={tool: sorted(found) for tool, found in sorted(versions.items())},
        workers=[LiveWorker(id=worker.id, host=worker.host,
                            slots=min(worker.slots, worker.platform_slots.get(platform.name, worker.slots)),
                            tools=worker.platforms[platform.name], seen_at=format_time(worker.seen_at))
                 for worker in sorted(workers, key=lambda worker: worker.id)])
