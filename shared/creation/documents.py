"""Makes task documents from a request."""
from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from shared.access import own_tenant
from shared.creation.requests import MAX_TARGETS, CreateTask, TargetChoice
from shared.digests import canonical_digest
from shared.documents import DEFAULT_TENANT, HEAD_START_S, Task, new_task_id
from shared.errors import InvalidRequest
from shared.files.paths import MAX_PART_BYTES, MAX_PATH_BYTES, check_path
from shared.outputs import default_output, suffixes_of, written_paths
from shared.platforms import get_platforms
from shared.platforms.base import Platform, get_parameter, object_parameters, set_parameter
from shared.settings import Settings
from shared.validation_messages import printable, validate


def build_tasks(request: CreateTask, settings: Settings) -> list[Task]:
    """The document for each target of the request. Everything that the worker relies on is checked here. The tasks of
    several targets are a group. They belong to the tenant that this thread works for.

    Raises:
        InvalidRequest: the target, the task type, the parameters or a path are wrong; the message names the field.
    """
    if request.targets is None:
        choice = TargetChoice(task_type=request.task_type or "", platform=request.platform or "",
                              output_path=request.output_path)
        return [_build_task(request, choice, settings, "")]
    tasks = [_build_task(request, choice, settings, f"targets[{index}].")
             for index, choice in enumerate(request.targets)]
    taken: set[str] = set()
    for index, task in enumerate(tasks):
        if common := taken.intersection(written_paths(task)):
            path = min(common)
            raise InvalidRequest(f"targets[{index}].output_path 无效: 另一目标也会写入 {path}",
                                 f"targets[{index}].output_path is invalid: another target writes {path} too")
        taken.update(written_paths(task))
    whole = canonical_digest([task.request_hash for task in tasks])
    group_id = _group_id(request, tasks[0])
    return [task.model_copy(update={
        "group_id": group_id, "request_hash": whole,
        "idempotency_key": request.idempotency_key and _member_key(request.idempotency_key, index)})
        for index, task in enumerate(tasks)]


def key_of_tenant(key: str, tenant: str) -> str:
    """A client's idempotency key as it is stored. That of a tenant is longer than any that a client may send."""
    return key if tenant == DEFAULT_TENANT else f"{hashlib.sha512(f'{tenant}/{key}'.encode()).hexdigest()}@"


def _member_key(key: str, index: int) -> str:
    """The key of one task of a group. It is longer than any that a client may send, so that it is never a client's."""
    return f"{hashlib.sha512(key.encode()).hexdigest()}#{index}"


def first_keys(key: str) -> list[str]:
    """The keys of which one is there where all tasks of a request with this key are stored: the only task's, and that
    of a group's first task, which is stored last."""
    return [key, _member_key(key, 0)]


def request_keys(key: str) -> list[str]:
    """All keys that tasks of a request with this key may have; the only task's comes first, then those of a group."""
    return [key, *(_member_key(key, index) for index in range(MAX_TARGETS))]


def _group_id(request: CreateTask, first: Task) -> str:
    """The group's id. A repeated request has the same one."""
    if request.idempotency_key is None:
        return first.id.replace("task", "group", 1)
    return f"group_{hashlib.sha256(request.idempotency_key.encode()).hexdigest()[:20]}"


def _build_task(request: CreateTask, choice: TargetChoice, settings: Settings, where: str) -> Task:
    """`where` is the prefix of the choice's fields in error messages: `targets[1].`, or nothing."""
    platform = _find_platform(choice, where)
    parameters = validate(platform.parameters, request.parameters | choice.parameters,
                          f"{where}parameters").model_dump(mode="json")
    _check_objects(platform, parameters, settings, where)
    input_path = check_path(request.input_path, "input_path", settings)
    _require_suffix(input_path.lower(), "input_path", platform.input_suffixes)
    output_path = choice.output_path and check_output(choice.output_path, f"{where}output_path", input_path, platform,
                                                       settings)
    overwrite = request.overwrite if choice.overwrite is None else choice.overwrite
    if request.callback_url is not None:
        from shared.announcements.urls import check_callback_url  # most requests have none

        check_callback_url(request.callback_url, settings)
    asked = [choice.task_type, platform.name, input_path, output_path, parameters, request.priority, request.labels]
    now = time.time()
    task_id, tenant = new_task_id(now), own_tenant()
    return Task(
        id=task_id, task_type=choice.task_type, platform=platform.name, input_path=input_path,
        output_path=output_path or default_output(
            task_id, input_path, platform, settings, tenant), overwrite=overwrite,
        parameters=parameters, priority=request.priority, labels=request.labels,
        queue_order=now - HEAD_START_S[request.priority],
        created_at=now, updated_at=now, idempotency_key=request.idempotency_key,
        callback_url=request.callback_url, tenant=tenant,
        # A request of an older version, which had neither `overwrite` nor `callback_url`, has the same hash.
        request_hash=canonical_digest([*asked, *["overwrite"] * overwrite, *[{"callback_url": request.callback_url}]
                                       * (request.callback_url is not None)]))


def _find_platform(choice: TargetChoice, where: str) -> Platform:
    platforms = get_platforms()
    platform = platforms.get(choice.platform)
    if platform is None:
        raise _unknown(f"{where}platform", choice.platform, platforms)
    if choice.task_type not in platform.task_types:
        raise _unknown(f"{where}task_type", choice.task_type, platform.task_types)
    return platform


def _unknown(field: str, value: str, known: Iterable[str]) -> InvalidRequest:
    got, right = printable(value, 40), ", ".join(known)
    return InvalidRequest(f"{field} 无效: 不支持 {got}, 应为以下值之一: {right}",
                          f"{field} is invalid: {got} is not supported; should be one of: {right}")


def _require_suffix(path: str, field: str, suffixes: tuple[str, ...]) -> None:
    if PurePosixPath(path).suffix not in suffixes:
        right = ", ".join(suffixes)
        raise InvalidRequest(f"{field} 无效: 文件名应以 {right} 结尾", f"{field} is invalid: should end in {right}")


def check_output(text: str, field: str, input_path: str, platform: Platform, settings: Settings) -> str:
    """`text` as the place of a task's results.

    Raises:
        InvalidRequest: no result may lie there; the message names the field.
    """
    path = check_path(text, field, settings)
    suffix = platform.artefact_suffix
    if not path.endswith(suffix) or PurePosixPath(path).name == suffix:
        raise InvalidRequest(f"{field} 无效: 文件名应以 {suffix} 结尾",
                             f"{field} is invalid: should end in {suffix}")
    stem = path.removesuffix(suffix)
    for other in suffixes_of(platform):
        if len(PurePosixPath(stem).name.encode()) + len(other) > MAX_PART_BYTES or (
                len(stem.encode()) + len(other) > MAX_PATH_BYTES):
            raise InvalidRequest(f"{field} 无效: 过长, 结果文件 (…{other}) 无法命名",
                                 f"{field} is invalid: too long for the names of the results (…{other})")
    if path == input_path:
        raise InvalidRequest(f"{field} 无效: 不得与 input_path 相同",
                             f"{field} is invalid: should differ from input_path")
    return path


def _check_objects(platform: Platform, parameters: dict[str, Any], settings: Settings, where: str) -> None:
    """Parameters that name objects follow the rules of `input_path`; a prefix may end in a slash."""
    for name in object_parameters(platform):
        value = get_parameter(parameters, name)
        if isinstance(value, str):
            path = check_path(value.removesuffix("/"), f"{where}parameters.{name}", settings)
            set_parameter(parameters, name, path)
