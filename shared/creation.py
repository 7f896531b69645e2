"""From a client's request to a task document, and into the store exactly once."""
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import PurePosixPath

from shared.deps import get_store
from shared.errors import Conflict, InvalidRequest
from shared.files.paths import check_path
from shared.models import HEAD_START_S, CreateTask, Task, new_task_id
from shared.platforms import get_platforms
from shared.platforms.base import Platform
from shared.settings import Settings
from shared.store import DuplicateKey
from shared.transitions import created
from shared.validation_messages import printable, validate


def build_task(request: CreateTask, settings: Settings) -> Task:
    """The document of a request that was checked in all that the worker will rely on.

    Raises:
        InvalidRequest: target, task type, parameters or a path are not right; the message names the field.
    """
    platform = _find_platform(request)
    parameters = validate(platform.parameters, request.parameters, "parameters").model_dump(mode="json")
    input_path = check_path(request.input_path, "input_path", settings)
    _require_suffix(input_path.lower(), "input_path", platform.input_suffixes)
    output_path = request.output_path and _check_output(request.output_path, input_path, platform, settings)
    now = time.time()
    task_id = new_task_id(now)
    return Task(
        id=task_id, task_type=request.task_type, platform=platform.name, input_path=input_path,
        output_path=output_path or default_output(task_id, input_path, platform, settings), parameters=parameters,
        priority=request.priority, labels=request.labels, queue_order=now - HEAD_START_S[request.priority],
        created_at=now, updated_at=now, idempotency_key=request.idempotency_key,
        request_hash=_hash([request.task_type, platform.name, input_path, output_path, parameters, request.priority,
                            request.labels]))


def insert_once(task: Task) -> tuple[Task, bool]:
    """The stored task and whether it is new; of several with one idempotency key only the first is stored.

    Raises:
        Conflict: the key was used for another request.
    """
    try:
        get_store().insert(task, [created(task)])
    except DuplicateKey as duplicate:
        if duplicate.existing.request_hash != task.request_hash:
            raise Conflict("idempotency_key 已用于其他请求, 请使用新的键",
                           "idempotency_key was used for another request; use a new one") from duplicate
        return duplicate.existing, False
    return task, True


def default_output(task_id: str, input_path: str, platform: Platform, settings: Settings) -> str:
    """The task's own folder in the results' bucket, so that it can be deleted with the task."""
    return f"{settings.results_bucket}/{task_id}/{PurePosixPath(input_path).stem}{platform.artefact_suffix}"


def _find_platform(request: CreateTask) -> Platform:
    platforms = get_platforms()
    platform = platforms.get(request.platform)
    if platform is None:
        raise _unknown("platform", request.platform, platforms)
    if request.task_type not in platform.task_types:
        raise _unknown("task_type", request.task_type, platform.task_types)
    return platform


def _unknown(field: str, value: str, known: Iterable[str]) -> InvalidRequest:
    got, right = printable(value, 40), ", ".join(known)
    return InvalidRequest(f"{field} 无效: 不支持 {got}, 应为以下值之一: {right}",
                          f"{field} is invalid: {got} is not supported; should be one of: {right}")


def _require_suffix(path: str, field: str, suffixes: tuple[str, ...]) -> None:
    if PurePosixPath(path).suffix not in suffixes:
        right = ", ".join(suffixes)
        raise InvalidRequest(f"{field} 无效: 文件名应以 {right} 结尾", f"{field} is invalid: should end in {right}")


def _check_output(text: str, input_path: str, platform: Platform, settings: Settings) -> str:
    path = check_path(text, "output_path", settings)
    suffix = platform.artefact_suffix
    if not path.endswith(suffix) or PurePosixPath(path).name == suffix:
        raise InvalidRequest(f"output_path 无效: 文件名应以 {suffix} 结尾",
                             f"output_path is invalid: should end in {suffix}")
    if path == input_path:
        raise InvalidRequest("output_path 无效: 不得与 input_path 相同",
                             "output_path is invalid: should differ from input_path")
    return path


def _hash(request: list[object]) -> str:
    """SHA-256 of the canonical JSON."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
