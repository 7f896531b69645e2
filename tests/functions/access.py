"""Keys for tests, and a right request for each endpoint."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.access.documents import Key, new_key_id
from shared.access.key_text import digest_of, new_key_text
from shared.deps import get_files
from shared.documents import Task
from shared.settings import get_settings
from shared.store import Store, TaskFilter

NOT_THERE = "task_1234567890_1234567890"


@dataclass(frozen=True)
class Made:
    """A key, its document, and the headers that show it."""

    text: str
    key: Key

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.text}"}


def make_key(store: Store, tenant: str = "acme", scopes: tuple[str, ...] = ("read", "write", "admin"),
             **fields: Any) -> Made:
    text = new_key_text()
    key = Key.model_validate({"id": new_key_id(), "digest": digest_of(text), "name": f"key of {tenant}",
                              "tenant": tenant, "scopes": list(scopes), "created_at": time.time()} | fields)
    store.add_key(key)
    return Made(text, key)


@dataclass(frozen=True)
class Named:
    """What requests name."""

    task_id: str = NOT_THERE
    group_id: str = "group_1234567890_1234567890"
    upload_id: str = "upload_1234567890_" + "0" * 32
    model: str = "models/m.onnx"


Request = tuple[str, dict[str, Any]]  # the path, and what the request has beside it


def _create(named: Named) -> Request:
    return "/tasks/create", {"json": {"task_type": "onnx_to_om", "platform": "huawei", "input_path": named.model,
                                      "parameters": {"chip": "Ascend310P3"}}}


def _action(verb: str) -> list[Callable[[Named], Request]]:
    return [lambda named: (f"/tasks/{verb}", {"json": {"task_id": named.task_id}}),
            lambda named: (f"/tasks/{verb}", {"json": {"task_ids": [named.task_id]}}),
            lambda named: (f"/tasks/{verb}", {"json": {"group_id": named.group_id}})]


# For each endpoint by its name, one request for each way in which it names something.
REQUESTS: Mapping[str, list[Callable[[Named], Request]]] = {
    "batch_delete_tasks": _action("batch-delete")[1:],
    "cancel_task": _action("cancel"), "pause_task": _action("pause"), "resume_task": _action("resume"),
    "retry_task": _action("retry"),
    "complete_upload": [lambda named: ("/uploads/complete", {"json": {"upload_id": named.upload_id}})],
    "create_task": [_create],
    "create_upload": [lambda named: ("/uploads", {"json": {"file_name": "m.onnx", "size_bytes": 3}}),
                      lambda named: ("/uploads", {"json": {"upload_id": named.upload_id}})],
    "get_task_events": [lambda named: (f"/tasks/{named.task_id}/events", {}),
                        lambda named: (f"/tasks/{named.task_id}/events", {"headers": {"Accept": "text/event-stream"}})],
    "get_task_file": [lambda named: (f"/tasks/{named.task_id}/files/m.om", {}),
                      lambda named: (f"/tasks/{named.task_id}/files/compile.log", {})],
    "get_task_log": [lambda named: (f"/tasks/{named.task_id}/log", {}),
                     lambda named: (f"/tasks/{named.task_id}/log?stage=compile", {})],
    "get_task_status": [lambda named: (f"/tasks/{named.task_id}/status", {})],
    "health": [lambda named: ("/health", {})],
    "list_platforms": [lambda named: ("/platforms", {})],
    "list_task_files": [lambda named: (f"/tasks/{named.task_id}/files", {}),
                        lambda named: (f"/tasks/{named.task_id}/files?zip=1", {})],
    "list_tasks": [lambda named: ("/tasks/list", {"json": {}}),
                   lambda named: ("/tasks/list", {"json": {"group_id": named.group_id}})],
    "on_upload": [lambda named: ("/events/storage", {"json": {"Records": []}})],
    "query_task": [lambda named: ("/tasks/query", {"json": {"task_id": named.task_id}})],
    "validate_task": [lambda named: ("/tasks/validate", _create(named)[1])],
}


def with_headers(request: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    return request | {"headers": {**request.get("headers", {}), **headers}}


def everything(store: Store) -> Any:
    """All that requests could change."""
    tasks, _ = store.list_page(TaskFilter(), 1, 10_000)
    files = get_files()
    objects = [(info.path, info.etag) for bucket in ("uploads", "results", "models", get_settings().cache_bucket)
               for info in files.find(f"{bucket}/")]
    return [task.model_dump() for task in tasks if isinstance(task, Task)], objects
