"""One document that is damaged or of another version: it alone is told, and can be deleted; all else is answered."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.documents import Task, WorkerInfo
from shared.files import Files
from shared.marks import Mark, write_mark
from shared.settings import get_settings
from shared.store import Store
from shared.task_logs import log_path
from tests.contract.store_raw import edit_raw
from tests.functions.service import Caller

Add = Callable[..., Task]
STREAM = {"Accept": "text/event-stream"}
ENGLISH = {"Accept-Language": "en"}


@pytest.fixture(params=[{"status": "archived"}, {"form": 2}, {"parameters": "x"}, {"created_at": 1e18}],
                ids=lambda damage: next(iter(damage)))
def bad(request: pytest.FixtureRequest, store: Store, add: Add) -> Task:
    """The newest of a group of three, running in some worker's hands."""
    group = {"group_id": "group_1", "epoch": 1}
    add(**group, created_at=1704110399.0)
    task = add(**group, status="running", owner="w1", created_at=1704110401.0)
    add(**group, created_at=1704110400.0)
    edit_raw(store, task.id, **request.param)
    return task


@pytest.fixture
def workers(store: Store) -> Iterator[list[str]]:
    """Two live ones. The document of the first is damaged."""
    for name in ("a", "b"):
        store.save_worker(WorkerInfo(id=name, host="h", pid=1, platforms={"huawei": {}}, slots=1,
                                     started_at=time.time(), seen_at=time.time()))
    edit_raw(store, "a", kind="workers", slots="many")
    yield ["a", "b"]
    for name in ("a", "b"):
        store.remove_worker(name)


def test_a_list_has_the_others_and_the_id_of_what_cannot_be_read(call: Caller, bad: Task) -> None:
    for narrow in ({}, {"group_id": "group_1"}):
        page = call("list_tasks", "POST", "/tasks/list", json=narrow).data
        assert bad.id not in [task["id"] for task in page["tasks"]]
        assert (len(page["tasks"]), page["total"], page["unreadable"]) == (2, 3, [bad.id])
    first = call("list_tasks", "POST", "/tasks/list", json={"page_size": 1}).data
    rest = call("list_tasks", "POST", "/tasks/list", json={"page_size": 1, "page": 3}).data
    assert (first["total_pages"], rest["total_pages"]) == (3, 3) and len(rest["tasks"]) == 1


@pytest.mark.parametrize(("name", "method", "path"), [
    ("query_task", "POST", "/tasks/query"), ("get_task_status", "GET", "/tasks/{id}/status"),
    ("get_task_events", "GET", "/tasks/{id}/events"), ("get_task_log", "GET", "/tasks/{id}/log")])
def test_who_asks_for_it_is_told_what_is_wrong_and_what_helps(call: Caller, bad: Task, name: str, method: str,
                                                              path: str) -> None:
    body = {"json": {"task_id": bad.id}} if method == "POST" else {}
    answer = call(name, method, path.format(id=bad.id), **body)
    answer.assert_error(500, "任务的文档无法读取", "batch-delete")
    assert "archived" not in answer.message
    call(name, method, path.format(id=bad.id), headers=ENGLISH, **body).assert_error(500, "cannot be read")


def test_its_stream_is_refused_in_the_error_form(call: Caller, bad: Task) -> None:
    call("get_task_events", "GET", f"/tasks/{bad.id}/events", headers=STREAM).assert_error(500, "无法读取")


@pytest.mark.parametrize("name", ["pause", "resume", "cancel", "retry"])
def test_no_action_touches_it_and_the_others_of_the_request_are_served(call: Caller, store: Store, bad: Task,
                                                                       add: Add, name: str) -> None:
    before = {"pause": "running", "resume": "paused", "cancel": "running", "retry": "failed"}
    other = add(status=before[name])
    call(f"{name}_task", "POST", f"/tasks/{name}", json={"task_id": bad.id}).assert_error(500, "无法读取")
    many = call(f"{name}_task", "POST", f"/tasks/{name}", json={"task_ids": [bad.id, other.id]}).data
    assert many["results"] == {bad.id: False, other.id: True}
    assert "无法读取" in many["reasons"][bad.id]
    assert bad.id in call(f"{name}_task", "POST", f"/tasks/{name}", json={"group_id": "group_1"}).data["reasons"]


def test_it_is_deleted_by_its_id_with_what_it_wrote_into_its_folder_and_its_logs(
        call: Caller, store: Store, bad: Task, add: Add, files: Files, tmp_path: Path) -> None:
    (tmp_path / "object").write_text("x")
    its = [f"results/{bad.id}/input.om", log_path(get_settings(), bad.id, "compile")]
    other = add()
    others = [f"results/{other.id}/input.om", log_path(get_settings(), other.id, "compile"),
              f"results/{bad.id}/notes.txt"]
    for path in its + others:
        mark = write_mark(Mark(bad.id, 1, "huawei"), path) if path in its else None
        files.upload(tmp_path / "object", path, mark=mark)
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": [bad.id, "task_1_none"]})
    assert answer.data["results"] == {bad.id: True, "task_1_none": False}
    assert [files.stat(path) is None for path in its + others] == [True, True, False, False, False]
    call("query_task", "POST", "/tasks/query", json={"task_id": bad.id}).assert_error(404)
    assert "unreadable" not in call("list_tasks", "POST", "/tasks/list", json={}).data


def test_it_goes_with_its_group(call: Caller, store: Store, bad: Task) -> None:
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"group_id": "group_1"})
    assert answer.data["success_count"] == 3 and answer.data["results"][bad.id]


def test_nothing_is_deleted_for_an_id_that_may_be_a_path(call: Caller, store: Store, add: Add, files: Files,
                                                         tmp_path: Path) -> None:
    (tmp_path / "object").write_text("x")
    files.upload(tmp_path / "object", "results/mine/a.om")
    add(id="mine")
    edit_raw(store, "mine", parameters="x")
    answer = call("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": ["mine"]})
    assert answer.data["results"] == {"mine": True}
    assert files.stat("results/mine/a.om")


def test_a_workers_document_hides_no_other_worker(call: Caller, workers: list[str], add: Add) -> None:
    listed = call("list_platforms", "GET", "/platforms").data["platforms"]
    assert [live["id"] for platform in listed for live in platform["workers"]] == ["b"]
    task = add()
    view = call("query_task", "POST", "/tasks/query", json={"task_id": task.id}).data["task_info"]
    assert view["waits_for"] == "slot"


def test_health_counts_what_cannot_be_read_until_it_is_gone_or_mended(call: Caller, store: Store, bad: Task,
                                                                      workers: list[str], add: Add) -> None:
    waits = add(created_at=0.0)  # it need not be among the newest
    edit_raw(store, waits.id, labels=[])
    assert call("health", "GET", "/health").data["unreadable"] == {"tasks": 2, "workers": 1}
    edit_raw(store, waits.id, labels={})
    store.delete(bad.id)
    store.remove_worker("a")
    assert call("health", "GET", "/health").data["unreadable"] == {"tasks": 0, "workers": 0}
