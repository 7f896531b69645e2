"""The HTTP side: `uvicorn tests.bench.peer.api:api --workers 2`."""
from __future__ import annotations

import secrets
import time
from typing import Any, Literal

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from tests.bench.peer.documents import tasks
from tests.bench.peer.jobs import convert

api = FastAPI()


class CreateTask(BaseModel):
    task_type: str = Field(max_length=64)
    platform: Literal["intel", "rockchip", "qualcomm"]
    input_path: str = Field(min_length=1, max_length=1024)
    output_path: str | None = None
    parameters: dict[str, Any] = {}
    priority: Literal["high", "normal", "low"] = "normal"
    labels: dict[str, str] = {}


class Created(BaseModel):
    task_id: str
    status: str


class TaskStatus(BaseModel):
    task_id: str
    status: str
    is_completed: bool
    is_failed: bool


class CreateAnswer(BaseModel):
    success: bool = True
    message: str = "任务创建成功"
    data: Created


class StatusAnswer(BaseModel):
    success: bool = True
    message: str = "获取任务状态成功"
    data: TaskStatus


@api.get("/health")
def health() -> dict[str, bool]:
    return {"success": True}


@api.post("/tasks/create")
def create_task(request: CreateTask) -> CreateAnswer:
    now = time.time()
    task_id = f"task_{int(now)}_{secrets.randbelow(10**10):010d}"
    tasks().insert_one({"_id": task_id, "status": "pending", "created_at": now, "updated_at": now, "started_at": None,
                        "stage": None, **request.model_dump()})
    convert.delay(task_id)
    return CreateAnswer(data=Created(task_id=task_id, status="pending"))


@api.get("/tasks/{task_id}/status")
def get_task_status(task_id: str) -> StatusAnswer:
    task = tasks().find_one({"_id": task_id}, {"status": 1})
    if task is None:
        raise HTTPException(404, "task not found")
    status = task["status"]
    return StatusAnswer(data=TaskStatus(task_id=task_id, status=status, is_completed=status == "completed",
                                        is_failed=status == "failed"))
