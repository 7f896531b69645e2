"""The OpenAPI 3.1 document, made from the endpoints and the models that validate."""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared import VERSION, errors
from shared.api.catalog import view_platforms
from shared.api.http import Endpoint, Probe
from shared.api.openapi_targets import tell_targets
from shared.documents import WorkerInfo
from shared.errors import AppError
from shared.platforms import get_platforms
from shared.settings import Settings, get_settings
from shared.times import parse_time

# Examples by endpoint. They are the contract's, for the endpoints that the contract has. Examples that show a target
# are made from the declaration of that target.
EXAMPLES = Path(__file__).with_name("examples.json")
CREATED_ID = "$response.body#/data/task_id"
REF_TEMPLATE = "#/components/schemas/{model}"

DESCRIPTION = """模型转换服务的任务管理接口。错误信息默认为中文; 请求头 `Accept-Language: en` 得到英文。时间均为 UTC。

Task management of the model conversion service. Messages are Chinese by default, English with
`Accept-Language: en`. Times are UTC."""

EVERYWHERE: tuple[type[AppError], ...] = (AppError, errors.Forbidden, errors.Unavailable)
WITH_REQUEST: tuple[type[AppError], ...] = (errors.InvalidRequest,)
WITH_KEYS: tuple[type[AppError], ...] = (errors.Unauthorized, errors.Forbidden)
WITH_BODY: tuple[type[AppError], ...] = (errors.PayloadTooLarge, errors.UnsupportedMediaType)

REASONS = {
    400: "请求参数错误 / the request is not right",
    401: "缺少令牌 (密钥) 或令牌 (密钥) 不正确 / the token or the key is missing or not right",
    403: "密钥没有所需的权限, 或不接受的主机名或网页来源 / the key lacks the scope that this needs, or Host has a name "
         "that is not the service's, or a page of somebody else's is in Origin",
    404: "任务或上传不存在 / no such task or upload",
    409: "idempotency_key 已用于其他请求, 或结果会替换他人的文件, 或结果文件已被他人替换, 或上传不完整 / "
         "idempotency_key was used for another request, or results would replace what is not the task's, or others "
         "have replaced a file of the result, or parts of an upload are missing",
    412: "内容已是另一版本 (If-Match) / the content is of another version by now (If-Match)",
    413: "请求体过大 / the body is too large",
    415: "请求体不是 JSON / the body is not JSON",
    416: "请求的字节范围超出内容 / the range is beyond the content",
    429: "超出限额, Retry-After 给出重试时间 / a limit is reached: Retry-After says when to try again",
    500: "服务器内部错误 / internal server error",
    501: "此部署不支持该操作 / this service is not set up for it",
    503: "依赖服务不可用或暂时繁忙 / a dependency does not answer, or there is too much to do just now",
}

KEY = {"type": "http", "scheme": "bearer", "description": (
    "`python -m infra.keys create` 生成的密钥, 或身份提供方的 JWT / a key made by `python -m infra.keys create`, or "
    "a JWT of the identity provider")}

Data = TypeVar("Data")


class Envelope(BaseModel, Generic[Data]):
    success: bool = True
    message: str
    data: Data


class ErrorEnvelope(BaseModel):
    success: Literal[False] = False
    message: str
    data: None = None


class ProbeAnswer(BaseModel):
    success: bool = True
    message: str
    data: None = None


SchemaOf = tuple[type[BaseModel], Literal["validation", "serialization"]]


def _envelope(data: type[BaseModel]) -> type[BaseModel]:
    return Envelope[data]  # type: ignore[valid-type]  # a model that is known only here


def build_document(endpoints: Iterable[Endpoint], *, with_keys: bool = False) -> dict[str, Any]:
    """`with_keys`: as it is where requests have to show a key."""
    ordered = sorted(endpoints, key=lambda about: (about.path, about.method))
    schemas, components = _schemas(ordered)
    settings = get_settings()
    tell_targets(components, settings)
    _tell_sizes(components, settings)
    if "CreateTask" in components and not settings.callback_secret.get_secret_value():
        components["CreateTask"]["properties"]["callback_url"] |= {"anyOf": [{"type": "null"}]}  # nothing is announced
    examples = _examples()
    paths: dict[str, dict[str, Any]] = {}
    for about in ordered:
        paths.setdefault(about.path, {})[about.method.lower()] = _operation(
            about, examples.get(about.name, {}), schemas, components, with_keys=with_keys)
        if about.probe:
            paths[about.path]["get"] = _probe(about, about.probe, schemas)
    create = paths.get("/tasks/create", {}).get("post")
    if create:
        create["responses"]["200"]["links"] = dict(_links(ordered))
    return {
        "openapi": "3.1.0",
        "info": {"title": "模型转换服务 / Model conversion service", "version": VERSION,
                 "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": "tasks", "description": "任务管理 / tasks"},
                 {"name": "uploads", "description": "上传模型 / bringing models in"},
                 {"name": "service", "description": "服务信息 / the service itself"}],
        "paths": paths,
        "components": {"schemas": components} | ({"securitySchemes": {"key": KEY}} if with_keys else {}),
    }


def _examples() -> dict[str, dict[str, Any]]:
    target = next(platform for platform in get_platforms().values() if platform.featured)
    examples = json.loads(Template(EXAMPLES.read_text()).substitute(
        TASK_TYPE=target.task_types[0], PLATFORM=target.name, SUFFIX=target.artefact_suffix))
    examples["create_task"]["request"] = {
        "task_type": target.task_types[0], "platform": target.name,
        "input_path": f"models/detector{target.input_suffixes[0]}", "parameters": target.example, "priority": "normal",
        "overwrite": False}
    at = parse_time("2024-01-01T12:00:00")
    worker = WorkerInfo(id="worker-1", host="host-1", pid=1, platforms={target.name: {"tool": "1.0"}}, slots=2,
                        started_at=at, seen_at=at)
    platforms = view_platforms([worker]).model_dump(mode="json")["platforms"]
    for platform in platforms:
        platform["parameters"] = {"type": "object"}  # the whole schema is long, and refers to parts of its own
    examples["list_platforms"] = {"data": {"platforms": platforms}}
    return examples


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """References by (model, mode), and the schemas that they refer to. Answers have the schema of their JSON text."""
    inputs: set[SchemaOf] = {(about.request, "validation") for about in endpoints if about.request}
    outputs: set[SchemaOf] = {(_envelope(data), "serialization") for about in endpoints for data in about.answers}
    outputs |= {(ErrorEnvelope, "serialization"), (ProbeAnswer, "serialization")}
    inputs |= {(platform.parameters, "validation") for platform in get_platforms().values()}
    wanted = sorted(inputs | outputs, key=lambda pair: pair[0].__name__)
    schemas, definitions = models_json_schema(wanted, ref_template=REF_TEMPLATE)
    return schemas, definitions["$defs"]


def _tell_sizes(components: dict[str, Any], settings: Settings) -> None:
    """The size that the settings allow a file. What several may have together the message tells."""
    limit = {"maximum": settings.max_model_bytes}
    for name in {"FileToUpload", "CreateUpload"} & components.keys():
        size = components[name]["properties"]["size_bytes"]
        size.get("anyOf", [size])[0].update(limit)


def _links(endpoints: Sequence[Endpoint]) -> Iterator[tuple[str, dict[str, Any]]]:
    """From a created task to each operation that takes its id."""
    for about in endpoints:
        fields = about.request.model_fields if about.request else {}
        if len(about.path_parameters) > 1:
            continue  # more than the id is needed
        if "task_id" in about.path_parameters:
            takes: dict[str, Any] = {"parameters": {"task_id": CREATED_ID}}
        elif "task_id" in fields:
            takes = {"requestBody": {"task_id": CREATED_ID}}
        elif "task_ids" in fields:
            takes = {"requestBody": {"task_ids": [CREATED_ID]}}
        else:
            continue
        yield about.name, {"operationId": about.name, "description": about.title.en} | takes


def _operation(about: Endpoint, example: dict[str, Any], schemas: dict[Any, dict[str, Any]],
               components: dict[str, Any], *, with_keys: bool) -> dict[str, Any]:
    known = EVERYWHERE + about.errors + ((errors.LimitReached,) if about.limited else ())
    with_keys = with_keys and about.scope is not None
    if with_keys:
        known += WITH_KEYS
    if about.request:
        known += WITH_REQUEST + (WITH_BODY if about.method == "POST" else ())
    operation: dict[str, Any] = {
        "operationId": about.name,
        "tags": [next((name for name in ("tasks", "uploads") if about.path.startswith(f"/{name}")), "service")],
        "summary": about.title.zh,
        "description": about.title.en,
        "responses": {
            **_success(about, example.get("data"), schemas),
            **{str(status): {"description": f"{text.zh} / {text.en}"} for status, text in about.empty.items()},
            **_failures(known, schemas)},
    }
    if with_keys:
        operation["security"] = [{"key": [about.scope]}, *[{}] * about.without_key]
    headers = [{"name": name, "in": "header", "required": False, "schema": {"type": "string"},
                "description": f"{text.zh} / {text.en}"} for name, text in about.headers.items()]
    if about.request and about.method == "POST":
        operation["requestBody"] = {"required": True, "content": _json(
            schemas[about.request, "validation"], example.get("request"))}
    elif about.reads:
        operation["requestBody"] = {"required": True, "description": f"{about.reads.zh} / {about.reads.en}",
                                    "content": _json({}, example.get("request"))}
    elif about.request:
        operation["parameters"] = [_parameter(about, name, schema) for name, schema
                                   in components[about.request.__name__]["properties"].items()] + headers
    return operation


def _probe(about: Endpoint, probe: Probe, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """The GET of those who look before they send."""
    return {"operationId": f"probe_{about.name}", "tags": ["service"], "summary": f"{about.title.zh} (探测)",
            "description": f"{about.title.en} (probe)", "responses": {"200": {
                "description": f"{probe.message.zh} / {probe.message.en}",
                "content": _json(schemas[ProbeAnswer, "serialization"],
                                 {"success": True, "message": probe.message.zh, "data": None})},
                **_failures(EVERYWHERE, schemas)}}


def _success(about: Endpoint, data: dict[str, Any] | None, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """The answers below 400. The example is of the first kind of data."""
    messages = list(about.answers.values()) or [about.title]
    content: dict[str, Any] = {}
    if about.answers:
        kinds = [schemas[_envelope(kind), "serialization"] for kind in about.answers]
        content |= _json(kinds[0] if len(kinds) == 1 else {"oneOf": kinds}, data and {
            "success": True, "message": messages[0].zh.format_map(data), "data": data})
    if about.media_type:
        content[about.media_type] = {"schema": {"type": "string"}} if about.media_type.startswith("text/") else {}
    success = {"description": f"{messages[0].zh} / {messages[0].en}", "content": content}
    if errors.RangeNotSatisfiable in about.errors:
        return {"200": success, "206": success | {"description": "内容的一部分 / a part of the content"}}
    return {"200": success}


def _failures(known: Iterable[type[AppError]], schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    return {str(status): {"description": REASONS[status], "content": _json(
        schemas[ErrorEnvelope, "serialization"],
        {"success": False, "message": REASONS[status].partition(" / ")[0], "data": None})}
        for status in sorted({error.status for error in known})}


def _parameter(about: Endpoint, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    in_path = name in about.path_parameters
    parameter = {"name": name, "in": "path" if in_path else "query", "required": in_path, "schema": schema}
    return parameter | ({"example": schema["examples"][0]} if "examples" in schema else {})


def _json(schema: dict[str, Any], example: object = None) -> dict[str, Any]:
    return {"application/json": {"schema": schema} | ({} if example is None else {"example": example})}
