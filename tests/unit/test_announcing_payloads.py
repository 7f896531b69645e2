"""What receivers are sent: little, all of it known before the end but the end itself, and no secret."""
from __future__ import annotations

import json
from typing import Any

import pytest

from shared.announcements.payloads import build_payload
from shared.documents import Status, Task
from shared.settings import read_settings

TASK = Task(id="task_1700000000_0123456789", task_type="a_to_b", platform="npu", input_path="models/检测 🙂.onnx",
            output_path="results/x/y.bin", parameters={"private": "p" * 1000}, labels={"line": "行"},
            created_at=1700000000.0, updated_at=1700000000.0, queue_order=1.0, idempotency_key="hidden-key",
            group_id="group_1")
SECRET = "whsec_" + "c2VjcmV0" * 4


def payload(end: str = "completed", code: str | None = None, task: Task = TASK, public_url: str = "") -> Any:
    settings = read_settings({"MODEL_CONVERT_PUBLIC_URL": public_url, "MODEL_CONVERT_CALLBACK_SECRET": SECRET})
    return json.loads(build_payload(task, end, 1700000001.25, code, settings))


def test_the_payload_of_a_completed_task() -> None:
    assert payload() == {
        "type": "task.completed", "timestamp": "2023-11-14T22:13:21.250Z",
        "data": {"task_id": TASK.id, "status": "completed", "task_type": "a_to_b", "platform": "npu",
                 "input_path": "models/检测 🙂.onnx", "output_path": "results/x/y.bin", "labels": {"line": "行"},
                 "group_id": "group_1", "error_code": None,
                 "links": {"status": f"/tasks/{TASK.id}/status", "events": f"/tasks/{TASK.id}/events",
                           "files": f"/tasks/{TASK.id}/files"}}}


@pytest.mark.parametrize(("end", "code"), [("failed", "out_of_memory"), ("cancelled", "cancelled")])
def test_the_payload_of_a_task_that_has_failed_or_was_cancelled(end: str, code: str) -> None:
    told = payload(end, code)
    assert (told["type"], told["data"]["status"], told["data"]["error_code"]) == (f"task.{end}", "failed", code)


def test_links_begin_with_the_public_url() -> None:
    assert payload(public_url="https://npu.example/api/")["data"]["links"]["files"] == (
        f"https://npu.example/api/tasks/{TASK.id}/files")


def test_all_attempts_have_the_same_body_whatever_has_become_of_the_task() -> None:
    later = TASK.model_copy(update={"status": Status.RUNNING, "epoch": 7, "progress": 50.0, "updated_at": 1800000000.0})
    assert payload("failed", "timeout", later) == payload("failed", "timeout")


def test_the_payload_is_small_and_holds_neither_parameters_nor_keys() -> None:
    large = TASK.model_copy(update={"input_path": "b" * 1024, "output_path": "c" * 1024,
                                    "labels": {f"{index:063}": "字" * 256 for index in range(16)}})
    settings = read_settings({"MODEL_CONVERT_CALLBACK_SECRET": SECRET})
    text = build_payload(large, "completed", 1700000001.0, None, settings)
    assert len(text) < 20_000
    assert all(word not in text.decode() for word in ("private", "hidden-key", "whsec"))
