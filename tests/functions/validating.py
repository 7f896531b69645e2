"""Validating and creating a task for the tests of what both say of a model."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.functions.service import Answer, Caller

TARGET = {"task_type": "onnx_to_openvino", "platform": "intel"}
Put = Callable[..., str]
ENGLISH = {"Accept-Language": "en"}


def validate(call: Caller, path: str, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    answer = call("validate_task", "POST", "/tasks/validate", json=TARGET | {"input_path": path} | fields,
                  headers=headers)
    assert answer.status == 200 and (headers or answer.message == "校验完成"), answer.body.decode()
    return answer.data


def codes(data: dict[str, Any], target: int = 0) -> list[str]:
    return [problem["code"] for problem in data["targets"][target]["problems"]]


def create(call: Caller, path: str, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    return call("create_task", "POST", "/tasks/create", json=TARGET | {"input_path": path} | fields, headers=headers)
