"""The contract's answers, to the letter."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.documents import Status, Task
from shared.store import Store
from tests.functions.service import Caller

SEVEN_FIELDS = ["id", "task_type", "platform", "status", "input_path", "output_path", "created_at"]
MORE_FIELDS = {"parameters", "priority", "labels", "group_id", "waits_for", "progress", "stage", "log_lines", "stages",
               "error", "result", "updated_at", "started_at", "finished_at"}
UNKNOWN = "task_1234567890_0000"


def test_a_query_answers_the_task_with_the_contracts_fields_first(call: Caller, add: Callable[..., Task]) -> None:
    task = add(id="task_1234567890_1234", input_path="/path/to/input.onnx", output_path="/path/to/output.om")
    answer = call("query_task", "POST", "/tasks/query", json={"task_id": task.id})
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert list(answer.json) == ["success", "message", "data"]
    assert answer.json["success"] is True and answer.message == "获取任务信息成功"
    assert list(answer.data) == ["task_id", "task_info"] and answer.data["task_id"] == task.id
    info = answer.data["task_info"]
    assert list(info)[:7] == SEVEN_FIELDS and set(list(info)[7:]) == MORE_FIELDS
    assert {name: info[name] for name in SEVEN_FIELDS} == {
        "id": "task_1234567890_1234", "task_type": "onnx_to_om", "platform": "huawei", "status": "pending",
        "input_path": "/path/to/input.onnx", "output_path": "/path/to/output.om", "created_at": "2024-01-01T12:00:00"}


def test_no_answer_tells_what_is_internal(call: Caller, add: Callable[..., Task]) -> None:
    task = add(status="running", owner="worker-secret", epoch=7, idempotency_key="key", request_hash="abc")
    text = call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).body.decode()
    for internal in ("owner", "epoch", "beat", "announced", "worker-secret", "request_hash", "idempotency_key"):
        assert internal not in text


def test_chinese_is_sent_as_utf_8_and_not_escaped(call: Caller, add: Callable[..., Task]) -> None:
    task = add(labels={"name": "模型"})
    body = call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).body
    assert "获取任务信息成功".encode() in body and "模型".encode() in body


@pytest.mark.parametrize(("status", "completed", "failed"), [
    ("pending", False, False), ("running", False, False), ("paused", False, False), ("completed", True, False),
    ("failed", False, True)])
def test_the_status_says_whether_a_task_has_ended(call: Caller, add: Callable[..., Task], status: str,
                                                  completed: bool, failed: bool) -> None:
    task = add(status=status)
    answer = call("get_task_status", "GET", f"/tasks/{task.id}/status")
    assert answer.message == "获取任务状态成功"
    assert list(answer.data.items()) == [("task_id", task.id), ("status", status), ("is_completed", completed),
                                         ("is_failed", failed)]


def test_a_list_without_a_page_is_the_first_ten_newest_first(call: Caller, add: Callable[..., Task]) -> None:
    tasks = [add(created_at=1704110400.0 + number) for number in range(23)]
    answer = call("list_tasks", "POST", "/tasks/list", json={})
    assert answer.message == "获取任务列表成功"
    assert list(answer.data) == ["tasks", "total", "page", "page_size", "total_pages"]
    assert [task["id"] for task in answer.data["tasks"]] == [task.id for task in tasks[:12:-1]]
    assert {name: answer.data[name] for name in ("total", "page", "page_size", "total_pages")} == {
        "total": 23, "page": 1, "page_size": 10, "total_pages": 3}
    assert list(answer.data["tasks"][0])[:7] == SEVEN_FIELDS


def test_the_last_page_is_short_and_the_one_after_it_empty(call: Caller, add: Callable[..., Task]) -> None:
    for _ in range(5):
        add()
    last = call("list_tasks", "POST", "/tasks/list", json={"page": 2, "page_size": 3}).data
    beyond = call("list_tasks", "POST", "/tasks/list", json={"page": 3, "page_size": 3}).data
    assert (len(last["tasks"]), last["total_pages"]) == (2, 2)
    assert beyond == {"tasks": [], "total": 5, "page": 3, "page_size": 3, "total_pages": 2}


def test_without_tasks_there_are_no_pages(call: Caller, store: Store) -> None:
    data = call("list_tasks", "POST", "/tasks/list", json={"page": 1, "page_size": 10}).data
    assert data == {"tasks": [], "total": 0, "page": 1, "page_size": 10, "total_pages": 0}


@pytest.mark.parametrize(("narrow", "expected"), [
    ({"status": "running"}, {"b"}), ({"platform": "huawei"}, {"a"}), ({"task_type": "onnx_to_openvino"}, {"b", "c"}),
    ({"labels": {"team": "x"}}, {"a", "b"}), ({"labels": {"team": "x", "site": "y"}}, {"b"}),
    ({"created_after": "2024-01-01T12:00:00"}, {"c"}), ({"created_before": "2024-01-01T12:00:00Z"}, {"a"}),
    ({"created_after": "2024-01-01T14:00:00+04:00", "created_before": "2024-01-01T13:00:00"}, {"a", "b"}),
    ({"status": "failed"}, set()), ({"platform": None, "labels": None}, {"a", "b", "c"}),
])
def test_each_filter_narrows_the_list(call: Caller, add: Callable[..., Task], narrow: dict[str, object],
                                      expected: set[str]) -> None:
    noon = 1704110400.0
    add(id="a", labels={"team": "x"}, created_at=noon - 3600)
    add(id="b", labels={"team": "x", "site": "y"}, status="running", platform="intel", task_type="onnx_to_openvino",
        created_at=noon)
    add(id="c", platform="intel", task_type="onnx_to_openvino", created_at=noon + 3600)
    data = call("list_tasks", "POST", "/tasks/list", json=narrow).data
    assert {task["id"] for task in data["tasks"]} == expected and data["total"] == len(expected)


def test_a_running_task_is_paused_and_then_resumed(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running", owner="w", epoch=3, announced=3)
    paused = call("pause_task", "POST", "/tasks/pause", json={"task_id": task.id})
    assert paused.message == "任务暂停成功"
    assert list(paused.data.items()) == [("task_id", task.id), ("status", "paused")]
    assert store.get(task.id).status == Status.PAUSED
    resumed = call("resume_task", "POST", "/tasks/resume", json={"task_id": task.id})
    assert resumed.message == "任务恢复成功"
    assert list(resumed.data.items()) == [("task_id", task.id), ("status", "running")]
    stored = store.get(task.id)
    assert (stored.status, stored.owner, stored.announced) == (Status.RUNNING, "w", -1)


@pytest.mark.parametrize("status", ["pending", "paused", "completed", "failed"])
def test_only_a_running_task_can_be_paused(call: Caller, store: Store, add: Callable[..., Task], status: str) -> None:
    task = add(status=status)
    call("pause_task", "POST", "/tasks/pause", json={"task_id": task.id}).assert_error(
        400, f"任务暂停失败: 只能暂停状态为 running 的任务, 当前状态: {status}")
    assert store.get(task.id) == task


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed"])
def test_only_a_paused_task_can_be_resumed(call: Caller, store: Store, add: Callable[..., Task], status: str) -> None:
    task = add(status=status)
    call("resume_task", "POST", "/tasks/resume", json={"task_id": task.id}).assert_error(
        400, f"任务恢复失败: 只能恢复状态为 paused 的任务, 当前状态: {status}")
    assert store.get(task.id) == task


@pytest.mark.parametrize(("name", "method", "path", "body"), [
    ("query_task", "POST", "/tasks/query", {"task_id": UNKNOWN}),
    ("get_task_status", "GET", f"/tasks/{UNKNOWN}/status", None),
    ("pause_task", "POST", "/tasks/pause", {"task_id": UNKNOWN}),
    ("resume_task", "POST", "/tasks/resume", {"task_id": UNKNOWN}),
    ("cancel_task", "POST", "/tasks/cancel", {"task_id": UNKNOWN}),
    ("retry_task", "POST", "/tasks/retry", {"task_id": UNKNOWN}),
    ("get_task_events", "GET", f"/tasks/{UNKNOWN}/events", None),
    ("get_task_log", "GET", f"/tasks/{UNKNOWN}/log", None)])
def test_a_task_that_does_not_exist_is_not_found(call: Caller, store: Store, name: str, method: str, path: str,
                                                 body: dict[str, str] | None) -> None:
    answer = call(name, method, path, json=body)
    answer.assert_error(404)
    assert answer.message == "任务不存在"


@pytest.mark.parametrize(("accept", "message", "language"), [
    (None, "任务不存在", "zh"), ("en", "task not found", "en"), ("en-US,en;q=0.9", "task not found", "en"),
    ("zh-CN,zh;q=0.9,en;q=0.8", "任务不存在", "zh"), ("en;q=0.1, zh;q=0.9", "任务不存在", "zh"),
    ("fr, en;q=0.5", "task not found", "en"), ("fr", "任务不存在", "zh"), ("*", "任务不存在", "zh"),
    ("en;q=0", "任务不存在", "zh"), ("\"; drop", "任务不存在", "zh")])
def test_the_client_chooses_the_language(call: Caller, store: Store, accept: str | None, message: str,
                                         language: str) -> None:
    headers = {"Accept-Language": accept} if accept else {}
    answer = call("query_task", "POST", "/tasks/query", json={"task_id": UNKNOWN}, headers=headers)
    assert (answer.message, answer.headers["Content-Language"]) == (message, language)
    assert "Accept-Language" in answer.headers["Vary"]


def test_success_is_told_in_english_too(call: Caller, add: Callable[..., Task]) -> None:
    tasks = [add().id for _ in range(2)]
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": [*tasks, UNKNOWN]},
                  headers={"Accept-Language": "en"})
    assert answer.message == "batch delete done: 2 of 3 tasks deleted"
