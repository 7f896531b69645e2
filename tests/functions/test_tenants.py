"""A tenant's tasks, uploads and groups do not exist for other tenants: whatever names one is answered as if it were
not there, and changes nothing."""
from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.gateway import load_functions
from shared.documents import Task, new_task_id
from shared.files import Files
from shared.store import Store, TaskFilter
from shared.uploads.records import UploadedFile, UploadRecord, new_upload_id, write_record
from tests.functions.access import NOT_THERE, REQUESTS, Made, Named, everything, make_key, with_headers
from tests.functions.finished import CONTENTS, finished_task
from tests.functions.service import Answer, Caller

ENDPOINTS = {name: function.endpoint for name, function in load_functions().items()}
NAMES_NOTHING = {("create_task", 0), ("validate_task", 0), ("create_upload", 0), ("list_tasks", 0), ("health", 0),
                 ("list_platforms", 0), ("on_upload", 0)}
EACH = [pytest.param(name, number, id=f"{name}-{number}") for name, requests in REQUESTS.items()
        for number in range(len(requests)) if (name, number) not in NAMES_NOTHING]
HUAWEI = {"task_type": "onnx_to_om", "platform": "huawei", "parameters": {"chip": "Ascend310P3"}}
GROUP = "group_1234567890_5555555555"


@pytest.fixture
def other(store: Store, files: Files, tmp_path: Path) -> Named:
    """What tenant `other` has: a finished task with files, in a group, and an upload."""
    task = finished_task(files, tmp_path / "content", CONTENTS).model_copy(update={
        "tenant": "other", "group_id": GROUP})
    store.insert(task)
    upload = UploadRecord(id=new_upload_id(1.7e9), tenant="other", created_at=1.7e9,
                          files=[UploadedFile(name="m.onnx", size_bytes=3)])
    write_record(files, "uploads", upload)
    return Named(task.id, GROUP, upload.id, f"uploads/tenant-other/{upload.id}/m.onnx")


def ask(guarded: Caller, made: Made, name: str, number: int, named: Named) -> Answer:
    path, request = REQUESTS[name][number](named)
    return guarded(name, ENDPOINTS[name].method, path, **with_headers(request, made.headers))


def create(guarded: Caller, made: Made, **fields: Any) -> Answer:
    body = HUAWEI | {"input_path": "models/m.onnx"} | fields
    return guarded("create_task", "POST", "/tasks/create", json=body, headers=made.headers)


def as_not_there(answer: Answer, named: Named) -> tuple[int, str]:
    """The answer, with the names of what does not exist in place of the real ones."""
    text = answer.body.decode(errors="replace")
    for there, not_there in ((named.task_id, NOT_THERE), (named.group_id, Named().group_id),
                             (named.upload_id, Named().upload_id)):
        text = text.replace(there, not_there)
    return answer.status, text


@pytest.mark.parametrize("tenant", ["acme", "default"])
@pytest.mark.parametrize(("name", "number"), EACH)
def test_what_is_anothers_is_answered_as_if_it_were_not_there(guarded: Caller, store: Store, other: Named, tenant: str,
                                                              name: str, number: int) -> None:
    made, before = make_key(store, tenant, prefixes=["*"]), everything(store)
    answer, nothing = ask(guarded, made, name, number, other), ask(guarded, made, name, number, Named())
    assert as_not_there(answer, other) == as_not_there(nothing, other)
    assert answer.status in (404, 200) and everything(store) == before
    if answer.status == 200:  # each of several ids has an answer of its own
        data = answer.data
        assert data.get("success_count", 0) == 0 and data.get("total", 0) == 0 and not any(
            data.get("results", {}).values())


@pytest.mark.parametrize(("name", "number"), EACH)
def test_its_own_tenant_finds_it(guarded: Caller, store: Store, other: Named, name: str, number: int) -> None:
    made = make_key(store, "other")
    assert ask(guarded, made, name, number, other).body != ask(guarded, made, name, number, Named()).body


@pytest.mark.parametrize(("name", "number"), EACH)
def test_a_document_that_cannot_be_read_is_told_to_its_own_tenant_only(
        guarded: Caller, store: Store, data_dir: Path, other: Named, name: str, number: int) -> None:
    with sqlite3.connect(data_dir / "tasks.db") as connection:
        connection.execute("UPDATE tasks SET doc = json_set(doc, '$.stages', 7) WHERE id = ?", [other.task_id])
    connection.close()
    made = make_key(store, "acme")
    answer, nothing = ask(guarded, made, name, number, other), ask(guarded, made, name, number, Named())
    assert as_not_there(answer, other) == as_not_there(nothing, other)
    assert store.get_many([other.task_id]).keys() == {other.task_id}


def test_each_tenant_lists_its_own_and_the_default_one_what_has_no_tenant(guarded: Caller, store: Store,
                                                                          add: Callable[..., Task]) -> None:
    ids = {tenant: [add(tenant=tenant, labels={"a": "b"}).id for _ in range(number)]
           for number, tenant in enumerate(("acme", "other", "default"), start=1)}
    for tenant, own in ids.items():
        headers = make_key(store, tenant).headers
        for narrow in ({}, {"status": "pending"}, {"platform": "huawei"}, {"labels": {"a": "b"}}):
            data = guarded("list_tasks", "POST", "/tasks/list", json=narrow, headers=headers).data
            assert [task["id"] for task in data["tasks"]] == sorted(own, reverse=True) and data["total"] == len(own)


def test_without_keys_all_tasks_are_seen_as_before(alone: Caller, store: Store, add: Callable[..., Task]) -> None:
    ids = {add(tenant=tenant).id for tenant in ("acme", "other", "default")}
    assert {task["id"] for task in alone("list_tasks", "POST", "/tasks/list", json={}).data["tasks"]} == ids


# --- what is made -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tenant", "folder"), [("acme", "tenant-acme/"), ("default", "")])
def test_results_and_uploads_of_a_tenant_lie_in_a_folder_of_its_own(guarded: Caller, store: Store, files: Files,
                                                                    tenant: str, folder: str) -> None:
    made = make_key(store, tenant)
    headers = made.headers
    file = {"file_name": "m.onnx", "size_bytes": 3}
    answer = guarded("create_upload", "POST", "/uploads", json=file, headers=headers)
    upload = answer.data
    assert upload["input_path"] == f"uploads/{folder}{upload['upload_id']}/m.onnx"
    task_id = create(guarded, made, input_path=upload["input_path"]).data["task_id"]
    task = store.get(task_id)
    assert task is not None and task.tenant == tenant
    assert task.output_path == f"results/{folder}{task_id}/m.om"
    again = guarded("create_upload", "POST", "/uploads", json={"upload_id": upload["upload_id"]}, headers=headers)
    assert again.data["input_path"] == upload["input_path"]


def test_a_result_can_be_the_next_tasks_model(guarded: Caller, store: Store) -> None:
    made = make_key(store, "acme")
    assert create(guarded, made, input_path=f"results/tenant-acme/{new_task_id()}/m.onnx").status == 200


@pytest.mark.parametrize("path", ["models/m.onnx", "models/acme2/m.onnx", "models/acm/m.onnx", "results/m.onnx",
                                  "results/tenant-other/x/m.onnx", "uploads/tenant-other/x.onnx", "uploads/x.onnx",
                                  f"results/{NOT_THERE}/m.onnx", f"uploads/{Named().upload_id}/m.onnx"])
@pytest.mark.parametrize("endpoint", ["create_task", "validate_task"])
def test_a_path_beyond_the_keys_prefixes_is_refused(guarded: Caller, store: Store, endpoint: str, path: str) -> None:
    made, before = make_key(store, "acme", prefixes=["models/acme/"]), everything(store)
    where = "/tasks/create" if endpoint == "create_task" else "/tasks/validate"
    body = HUAWEI | {"input_path": path}
    answer = guarded(endpoint, "POST", where, json=body, headers=made.headers)
    answer.assert_error(400, "input_path", "密钥不允许", "models/acme/")
    right = HUAWEI | {"input_path": "models/acme/m.onnx", "output_path": path.removesuffix(".onnx") + ".om"}
    guarded(endpoint, "POST", where, json=right, headers=made.headers).assert_error(400, "output_path", "密钥不允许")
    right = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/acme/m.onnx",
             "parameters": {"precision": "int8", "calibration": path}}
    guarded(endpoint, "POST", where, json=right, headers=made.headers).assert_error(400, "calibration", "密钥不允许")
    assert everything(store) == before


def test_a_path_below_a_prefix_is_taken(guarded: Caller, store: Store) -> None:
    made = make_key(store, "acme", prefixes=["models/acme/", "out/"])
    assert create(guarded, made, input_path="models/acme/a/m.onnx", output_path="out/acme-m.om").status == 200


def test_one_idempotency_key_of_two_tenants_is_two_keys(guarded: Caller, store: Store) -> None:
    keys = [make_key(store, tenant, prefixes=["*"]) for tenant in ("acme", "other", "default")]
    first = [create(guarded, made, idempotency_key="k").data["task_id"] for made in keys]
    again = [create(guarded, made, idempotency_key="k").data["task_id"] for made in keys]
    assert first == again and len(set(first)) == 3
    create(guarded, keys[0], idempotency_key="k", priority="low").assert_error(409, "idempotency_key")
    groups = [guarded("create_task", "POST", "/tasks/create", headers=made.headers, json={
        "input_path": "models/m.onnx", "idempotency_key": "g", "targets": [HUAWEI]}).data for made in keys]
    assert len({group["group_id"] for group in groups}) == 3
    assert len({group["tasks"][0]["task_id"] for group in groups}) == 3


def test_a_conflict_does_not_name_anothers_task(guarded: Caller, store: Store, add: Callable[..., Task]) -> None:
    foreign = add(tenant="other", platform="intel", task_type="onnx_to_openvino", output_path="out/shared.xml")
    made = make_key(store, "acme", prefixes=["*"])
    # The two targets' results of one stem meet in no object, so that the shared one is made to be the same.
    request = {"task_type": "onnx_to_rknn", "platform": "rockchip", "parameters": {"chip": "rk3588"},
               "input_path": "models/m.onnx", "output_path": "out/shared.xml.manifest.json.rknn"}
    for body in (request, request | {"output_path": "out/shared.rknn"}):
        for name, path in (("create_task", "/tasks/create"), ("validate_task", "/tasks/validate")):
            for language in ("zh", "en"):
                answer = guarded(name, "POST", path, json=body, headers=made.headers | {"Accept-Language": language})
                assert foreign.id.encode() not in answer.body


# --- who did what -----------------------------------------------------------------------------------------------------


def test_events_tell_the_key_and_the_request_that_have_caused_them(guarded: Caller, store: Store) -> None:
    made = make_key(store, "acme", prefixes=["*"], name="ci of acme")
    headers = made.headers | {"X-Request-Id": "request-1"}
    task_id = guarded("create_task", "POST", "/tasks/create", json=HUAWEI | {"input_path": "models/m.onnx"},
                      headers=headers).data["task_id"]
    for number, verb in enumerate(("cancel", "retry"), start=2):
        guarded(f"{verb}_task", "POST", f"/tasks/{verb}", json={"task_id": task_id},
                headers=headers | {"X-Request-Id": f"request-{number}"})
    events = guarded("get_task_events", "GET", f"/tasks/{task_id}/events", headers=headers).data["events"]
    assert [(event["type"], event["data"]) for event in events] == [
        (kind, {"key": "ci of acme", "request_id": f"request-{number}"})
        for number, kind in enumerate(("created", "cancelled", "retried"), start=1)]
    assert made.text not in json.dumps(events) and made.key.digest not in json.dumps(events)


def test_without_keys_events_are_as_before(alone: Caller, store: Store) -> None:
    task_id = alone("create_task", "POST", "/tasks/create", json=HUAWEI | {"input_path": "models/m.onnx"}
                    ).data["task_id"]
    events = alone("get_task_events", "GET", f"/tasks/{task_id}/events").data["events"]
    assert [event["data"] for event in events] == [{}]
    assert store.list_page(TaskFilter(tenant="default"), 1, 10)[1] == 1
