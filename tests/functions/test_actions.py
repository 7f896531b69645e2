"""POST /tasks/cancel and /tasks/retry, and pausing, resuming, cancelling and retrying many tasks in one request."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.servers.base import Server
from shared.documents import StageRecord, Status, StoredFailure, Task
from shared.errors import Unavailable
from shared.store import Store
from shared.transitions import Change
from tests.functions.service import Answer, Caller, call_over_http

STATES = ("pending", "running", "paused", "completed", "failed")
FETCH = StageRecord(name="fetch", key="k", output_digest="d", seconds=1.0, cached=False)

# action: the states that it takes, the state that it leads to, its Chinese verb, and how it is told in English
ACTIONS = {
    "pause": ({"running"}, "paused", "暂停", "batch pause done: 1 of 2 tasks paused"),
    "resume": ({"paused"}, "running", "恢复", "batch resume done: 1 of 2 tasks resumed"),
    "cancel": ({"pending", "running", "paused"}, "failed", "取消", "batch cancel done: 1 of 2 tasks cancelled"),
    "retry": ({"failed"}, "pending", "重试", "batch retry done: 1 of 2 tasks retried"),
}


def act(call: Caller, action: str, body: dict[str, object], language: str = "zh") -> Answer:
    return call(f"{action}_task", "POST", f"/tasks/{action}", json=body, headers={"Accept-Language": language})


# --- one task ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "running", "paused"])
def test_a_task_that_has_not_ended_is_cancelled(call: Caller, store: Store, add: Callable[..., Task],
                                                status: str) -> None:
    task = add(status=status, owner="w" if status == "running" else None, epoch=3)
    answer = act(call, "cancel", {"task_id": task.id})
    assert answer.message == "任务取消成功"
    assert list(answer.data.items()) == [("task_id", task.id), ("status", "failed")]
    stored = store.get(task.id)
    assert (stored.status, stored.owner, stored.error.code) == (Status.FAILED, None, "cancelled")
    assert [event.type for event in store.events(task.id)] == ["cancelled"]


def test_a_failed_task_is_retried_and_keeps_its_finished_stages(call: Caller, store: Store,
                                                                add: Callable[..., Task]) -> None:
    task = add(status="failed", epoch=3, announced=3, retries=2, stages=[FETCH], finished_at=5.0,
               error=StoredFailure(code="timeout", message="too slow"))
    answer = act(call, "retry", {"task_id": task.id})
    assert answer.message == "任务重试成功"
    assert list(answer.data.items()) == [("task_id", task.id), ("status", "pending")]
    stored = store.get(task.id)
    assert (stored.status, stored.error, stored.retries, stored.finished_at) == (Status.PENDING, None, 0, None)
    assert stored.stages == [FETCH] and stored.announced == -1


@pytest.mark.parametrize("action", ACTIONS)
def test_from_any_other_state_it_is_refused_with_the_state_named(call: Caller, store: Store, add: Callable[..., Task],
                                                                 action: str) -> None:
    allowed, _, verb, _ = ACTIONS[action]
    for status in set(STATES) - allowed:
        task = add(status=status)
        act(call, action, {"task_id": task.id}).assert_error(
            400, f"任务{verb}失败: 只能{verb}状态为 ", *allowed, f"当前状态: {status}")
        act(call, action, {"task_id": task.id}, "en").assert_error(
            400, f"cannot {action} the task: only a ", *allowed, f"this one is {status}")
        assert store.get(task.id) == task


def test_of_twenty_clients_that_cancel_one_task_one_is_told_it_was(gateway: Server, add: Callable[..., Task]) -> None:
    call, task = call_over_http(gateway.url), add(status="running", owner="w", epoch=1)
    with ThreadPoolExecutor(20) as pool:
        statuses = Counter(pool.map(lambda _: act(call, "cancel", {"task_id": task.id}).status, range(20)))
    assert statuses == {200: 1, 400: 19}


def test_a_state_that_changes_before_every_look_is_answered_in_the_end(
        alone: Caller, store: Store, add: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    task = add(status="running")
    monkeypatch.setattr(type(store), "update", lambda *_: None)  # as if each attempt came while it was paused
    answer = act(alone, "pause", {"task_id": task.id})
    answer.assert_error(503, "请重试")
    assert answer.headers["Retry-After"] == "1"


# --- many tasks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_each_of_many_tasks_is_changed_for_itself(call: Caller, store: Store, add: Callable[..., Task],
                                                  action: str) -> None:
    allowed, after, verb, _ = ACTIONS[action]
    tasks = {status: add(status=status) for status in STATES}
    ids = [*(task.id for task in tasks.values()), "task_0_unknown"]
    answer = act(call, action, {"task_ids": ids})
    changed = len(allowed)
    assert answer.message == f"批量{verb}完成: 成功{verb} {changed}/6 个任务"
    assert list(answer.data) == ["total_count", "success_count", "failed_count", "results", "reasons"]
    assert (answer.data["total_count"], answer.data["success_count"], answer.data["failed_count"]) == (
        6, changed, 6 - changed)
    assert list(answer.data["results"]) == ids
    assert answer.data["results"] == {task.id: status in allowed for status, task in tasks.items()} | {
        "task_0_unknown": False}
    assert answer.data["reasons"].keys() == {task_id for task_id, done in answer.data["results"].items() if not done}
    assert answer.data["reasons"]["task_0_unknown"] == "任务不存在"
    for status, task in tasks.items():
        assert store.get(task.id).status == (after if status in allowed else status)
        if status not in allowed:
            assert answer.data["reasons"][task.id].endswith(f"当前状态: {status}")


@pytest.mark.parametrize("action", ACTIONS)
def test_many_tasks_are_answered_in_english_too(call: Caller, add: Callable[..., Task], action: str) -> None:
    allowed, _, _, message = ACTIONS[action]
    task = add(status=min(allowed))
    answer = act(call, action, {"task_ids": [task.id, "task_0_unknown"]}, "en")
    assert answer.message == message and answer.data["reasons"] == {"task_0_unknown": "task not found"}


def test_a_task_named_twice_is_changed_once(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    task = add(status="running")
    data = act(call, "pause", {"task_ids": [task.id, task.id]}).data
    assert (data["total_count"], data["results"], data["reasons"]) == (1, {task.id: True}, {})


def test_one_id_in_a_list_is_answered_as_a_list(call: Caller, add: Callable[..., Task]) -> None:
    task = add(status="running")
    assert act(call, "pause", {"task_ids": [task.id], "task_id": None}).data["results"] == {task.id: True}


def test_a_thousand_tasks_are_cancelled_at_once(call: Caller, store: Store, add: Callable[..., Task]) -> None:
    ids = [add(id=f"task_1_{number}").id for number in range(1000)]
    assert act(call, "cancel", {"task_ids": ids}).message == "批量取消完成: 成功取消 1000/1000 个任务"
    assert {task.status for task in store.get_many(ids).values()} == {Status.FAILED}


def test_a_store_that_goes_away_halfway_is_a_reason_and_is_not_waited_for_again(
        alone: Caller, store: Store, add: Callable[..., Task], monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [add().id for _ in range(4)]
    update, asked = type(store).update, []

    def update_until_away(self: Store, task_id: str, change: Change) -> Task | None:
        asked.append(task_id)
        if task_id == ids[1]:
            raise Unavailable("store", "gone")
        return update(self, task_id, change)

    monkeypatch.setattr(type(store), "update", update_until_away)
    data = act(alone, "cancel", {"task_ids": ids}).data
    assert list(data["results"].values()) == [True, False, False, False] and asked == ids[:2]
    assert set(data["reasons"].values()) == {"依赖服务不可用: store"}
