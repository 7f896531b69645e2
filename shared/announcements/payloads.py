"""What a `callback_url` is sent: who has ended, and how. A receiver that wants more asks the service.

All attempts of an announcement have the same body: it tells of the end, and of what never changes of a task. By the
time it arrives the task may have been retried.
"""
from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from shared.documents import Status, Task
from shared.settings import Settings


def build_payload(task: Task, end: str, at: float, code: str | None, settings: Settings) -> bytes:
    """JSON by the rules of Standard Webhooks: `type`, `timestamp`, `data`.

    `end` is the type of the event that has ended the task (completed, failed, cancelled), `at` its time in seconds
    since the epoch, `code` that of the error. Links begin with `MODEL_CONVERT_PUBLIC_URL`; without it they are paths.
    """
    base = f"{settings.public_url.rstrip('/')}/tasks/{task.id}"
    data: dict[str, Any] = {
        "task_id": task.id, "status": Status.COMPLETED if end == "completed" else Status.FAILED,
        "task_type": task.task_type, "platform": task.platform, "input_path": task.input_path,
        "output_path": task.output_path, "labels": task.labels, "group_id": task.group_id, "error_code": code,
        "links": {"status": f"{base}/status", "events": f"{base}/events", "files": f"{base}/files"}}
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": f"task.{end}", "timestamp": moment, "data": data}, ensure_ascii=False,
                      separators=(",", ":")).encode()
