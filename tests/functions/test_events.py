"""GET /tasks/{task_id}/events: what happened to a task so far."""
from __future__ import annotations

import time
from collections.abc import Callable

from shared import transitions
from shared.documents import StageRecord, StoredFailure, Task
from shared.store import KEPT_EVENTS, Store
from shared.times import format_time
from shared.transitions import Change
from tests.functions.service import Answer, Caller

CREATE = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/detector.onnx"}
COMPILED = StageRecord(name="compile", key="k", output_digest="d", seconds=2.5, cached=False)


def get(call: Caller, task_id: str, query: str = "", **headers: str) -> Answer:
    return call("get_task_events", "GET", f"/tasks/{task_id}/events{query}", headers=headers)


def test_a_created_task_has_told_of_its_creation(call: Caller, store: Store) -> None:
    task_id = call("create_task", "POST", "/tasks/create", json=CREATE).data["task_id"]
    answer = get(call, task_id)
    assert answer.message == "获取任务事件成功"
    assert list(answer.data) == ["task_id", "status", "progress", "stage", "log_lines", "events", "next"]
    assert {name: value for name, value in answer.data.items() if name != "events"} == {
        "task_id": task_id, "status": "pending", "progress": 0.0, "stage": None, "log_lines": [], "next": 1}
    (event,) = answer.data["events"]
    assert list(event) == ["seq", "type", "at", "data"]
    assert event == {"seq": 1, "type": "created", "at": format_time(store.get(task_id).created_at), "data": {}}


def test_a_tasks_whole_life_is_told_in_order(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add()
    failure = StoredFailure(code="timeout", stage="verify", message="too slow")
    for change in (transitions.claim("w"), transitions.begin_stage("w", 1, "compile", 10.04, time.time()),
                   transitions.pause(), transitions.resume(),
                   transitions.commit_stages("w", 1, [COMPILED], 60.04, "verify", finished=[COMPILED]),
                   transitions.beat("w", 1, 66.66), transitions.fail("w", 1, failure)):
        assert store.update(task.id, change)
    data = get(call, task.id).data
    assert (data["status"], data["progress"], data["stage"]) == ("failed", 66.7, "verify")
    assert [(event["seq"], event["type"], event["data"]) for event in data["events"]] == [
        (1, "claimed", {"worker": "w"}), (2, "stage_started", {"stage": "compile"}), (3, "paused", {}),
        (4, "resumed", {}), (5, "stage_finished", {"stage": "compile", "seconds": 2.5, "cached": False}),
        (6, "failed", {"code": "timeout", "stage": "verify"})]


def test_each_request_goes_on_where_the_last_one_ended(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running")
    for change in (transitions.pause(), transitions.resume(), transitions.cancel()):
        store.update(task.id, change)
    first = get(call, task.id, "?after=1").data
    assert ([event["seq"] for event in first["events"]], first["next"]) == ([2, 3], 3)
    second = get(call, task.id, f"?after={first['next']}").data
    assert (second["events"], second["next"]) == ([], 3)
    store.update(task.id, transitions.retry())
    third = get(call, task.id, f"?after={second['next']}&_=123").data
    assert ([event["type"] for event in third["events"]], third["next"]) == (["retried"], 4)


def test_what_the_running_stage_says_is_told_beside_the_events(call: Caller, store: Store,
                                                             add: Callable[..., Task]) -> None:
    task = add(status="running", owner="w", epoch=1, stage="compile")
    for number in range(3):
        store.update(task.id, transitions.beat("w", 1, 10.0, [f"line {number}"]))
    data = get(call, task.id).data
    assert (data["stage"], data["log_lines"], data["events"], data["next"]) == ("compile", ["line 2"], [], 0)


def test_what_clients_do_over_http_is_told(call: Caller, add: Callable[..., Task]) -> None:
    task = add(status="running")
    for action in ("pause", "resume", "cancel", "retry"):
        call(f"{action}_task", "POST", f"/tasks/{action}", json={"task_ids": [task.id]}).data  # noqa: B018
    assert [event["type"] for event in get(call, task.id).data["events"]] == [
        "paused", "resumed", "cancelled", "retried"]


def test_of_many_events_the_newest_200_are_told(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running")
    for _ in range(KEPT_EVENTS):
        store.update(task.id, transitions.Change({}, events=transitions.pause().events + transitions.resume().events))
    data = get(call, task.id).data
    assert [event["seq"] for event in data["events"]] == list(range(KEPT_EVENTS + 1, 2 * KEPT_EVENTS + 1))
    assert data["next"] == 2 * KEPT_EVENTS


def test_a_views_fields_are_not_the_events_to_tell(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running")
    store.update(task.id, transitions.pause())
    assert "event" not in call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).body.decode()
    assert "event" not in call("list_tasks", "POST", "/tasks/list", json={}).body.decode()


def test_an_event_of_a_later_version_is_told_too(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add()
    (event,) = transitions.pause().events
    store.update(task.id, Change({}, events=(event.model_copy(update={"type": "teleported", "data": {"to": [1]}}),)))
    (told,) = get(call, task.id).data["events"]
    assert (told["type"], told["data"]) == ("teleported", {"to": [1]})


def test_a_client_that_takes_anything_gets_json(call: Caller, add: Callable[..., Task]) -> None:
    task = add(status="failed")
    for accept in ("*/*", "application/json", "text/html, */*;q=0.8", "application/json, text/event-stream"):
        assert get(call, task.id, Accept=accept).data["task_id"] == task.id
