"""The status endpoint keeps to the contract's four fields; what a task does just now is in its details."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.documents import Task
from tests.functions.service import Caller

CONTRACT = ["task_id", "status", "is_completed", "is_failed"]


@pytest.mark.parametrize("status", ["pending", "running", "paused", "completed", "failed"])
def test_the_status_has_the_contracts_fields_only(call: Caller, add: Callable[..., Task], status: str) -> None:
    task = add(status=status, stage="compile", progress=41.26, log_lines=["50%"])
    assert list(call("get_task_status", "GET", f"/tasks/{task.id}/status").data) == CONTRACT


def test_the_details_show_stage_progress_and_last_lines_of_what_runs(call: Caller, add: Callable[..., Task]) -> None:
    task = add(status="running", owner="w", epoch=1, stage="compile", progress=41.26, log_lines=["载入", "50%"])
    told = call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).data["task_info"]
    assert [told[name] for name in ("stage", "progress", "log_lines")] == ["compile", 41.3, ["载入", "50%"]]
