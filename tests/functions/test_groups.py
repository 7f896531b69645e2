"""One model to several targets in one request: a group of tasks, listed and controlled as one."""
from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.servers.base import Server
from shared.documents import Status, Task
from shared.store import Store, TaskFilter
from shared.transitions import claim
from tests.functions.service import Caller, call_over_http

TARGET = {"task_type": "onnx_to_openvino", "platform": "intel"}
TWO = [TARGET | {"parameters": {"precision": "fp32"}}, TARGET | {"parameters": {"precision": "fp16"}}]
PATHS = {"create_task": "/tasks/create", "pause_task": "/tasks/pause", "cancel_task": "/tasks/cancel",
         "list_tasks": "/tasks/list", "batch_delete_tasks": "/tasks/batch-delete"}


def post(call: Caller, name: str, **body: object):
    return call(name, "POST", PATHS[name], json=body)


def create(call: Caller, **fields: object):
    return post(call, "create_task", **{"input_path": "models/m.onnx", "targets": TWO} | fields)


def test_a_request_with_targets_makes_a_task_for_each_in_one_group(call: Caller, store: Store) -> None:
    answer = create(call, parameters={"input_shape": "1,3,32,32"}, priority="high", labels={"team": "a"})
    assert answer.status == 200 and answer.message == "任务创建成功"
    assert list(answer.data) == ["group_id", "tasks"]
    tasks = [store.get(state["task_id"]) for state in answer.data["tasks"]]
    assert [task.parameters["precision"] for task in tasks] == ["fp32", "fp16"]
    assert {(task.parameters["input_shape"], task.priority, task.labels["team"], task.group_id, task.status)
            for task in tasks} == {("1,3,32,32", "high", "a", answer.data["group_id"], Status.PENDING)}
    assert len({task.output_path for task in tasks}) == 2


def test_a_targets_parameters_go_over_the_requests_own(call: Caller, store: Store) -> None:
    answer = create(call, parameters={"precision": "fp32"}, targets=[TARGET, TARGET | {
        "parameters": {"precision": "fp16"}}])
    assert [store.get(state["task_id"]).parameters["precision"] for state in answer.data["tasks"]] == ["fp32", "fp16"]


def test_a_single_task_has_no_group(call: Caller, store: Store) -> None:
    answer = post(call, "create_task", input_path="models/m.onnx", **TARGET)
    assert list(answer.data) == ["task_id", "status"]
    assert store.get(answer.data["task_id"]).group_id is None


def test_a_repeated_key_answers_the_same_group_and_another_request_conflicts(call: Caller, store: Store) -> None:
    first = create(call, idempotency_key="k")
    again = create(call, idempotency_key="k")
    assert first.data == again.data
    create(call, idempotency_key="k", targets=TWO[:1]).assert_error(409, "idempotency_key")
    create(call, idempotency_key="k", targets=[TWO[1], TWO[0]]).assert_error(409, "idempotency_key")


def test_a_single_tasks_key_is_never_that_of_a_group(call: Caller, store: Store) -> None:
    single = {"input_path": "models/m.onnx", **TARGET}
    for key in ("k", "k#0", "k#1"):
        assert post(call, "create_task", **single, idempotency_key=key).status == 200
    group = create(call, idempotency_key="k")
    assert group.status == 200 and store.list_page(TaskFilter(), 1, 1)[1] == 5
    for task in store.list_page(TaskFilter(group_id=group.data["group_id"]), 1, 10)[0]:
        post(call, "create_task", **single, idempotency_key=task.idempotency_key).assert_error(400, "idempotency_key")


def test_a_repeated_key_answers_the_same_group_whatever_became_of_the_model(call: Caller, store: Store,
                                                                           data_dir: Path) -> None:
    first = create(call, idempotency_key="k")
    model = data_dir / "buckets" / "models" / "m.onnx"
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(b"no model")
    try:
        create(call, parameters={"input_shape": "1,3,48,48"}).assert_error(400, "model_")
        assert create(call, idempotency_key="k").data == first.data
    finally:
        model.unlink()


def test_a_deleted_task_of_a_group_stays_deleted_when_the_request_is_repeated(call: Caller, store: Store) -> None:
    first = create(call, idempotency_key="k").data["tasks"]
    store.delete(first[1]["task_id"])
    assert [task["task_id"] for task in create(call, idempotency_key="k").data["tasks"]] == [first[0]["task_id"]]


def test_a_group_that_the_stores_death_has_cut_is_completed_when_the_request_is_repeated(call: Caller,
                                                                                        store: Store) -> None:
    """The first task is stored last: where it is missing, the command did not come to its end."""
    first = create(call, idempotency_key="k").data
    ids = [task["task_id"] for task in first["tasks"]]
    store.delete(ids[0])
    again = create(call, idempotency_key="k").data
    assert again["group_id"] == first["group_id"]
    assert [task["task_id"] == known for task, known in zip(again["tasks"], ids, strict=True)] == [False, True]


def test_of_twenty_equal_groups_at_once_one_comes(gateway: Server, store: Store) -> None:
    call = call_over_http(gateway.url)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: create(call, idempotency_key="k").data, range(20)))
    assert all(answer == answers[0] for answer in answers) and len(answers[0]["tasks"]) == 2
    assert store.list_page(TaskFilter(), 1, 1)[1] == 2


def test_a_wrong_target_is_named_and_nothing_is_created(call: Caller, store: Store) -> None:
    create(call, targets=[TARGET, TARGET | {"platform": "abacus"}]).assert_error(400, "targets[1].platform", "abacus")
    create(call, targets=[TARGET, TARGET | {"parameters": {"precision": "int3"}}]).assert_error(
        400, "targets[1].parameters.precision")
    create(call, targets=[]).assert_error(400, "targets")
    create(call, targets=[TARGET] * 17).assert_error(400, "targets", "16")
    create(call, platform="intel").assert_error(400, "platform", "targets")
    create(call, output_path="out/m.xml").assert_error(400, "output_path", "targets")
    same = TARGET | {"output_path": "out/m.xml"}
    create(call, targets=[same, same]).assert_error(400, "targets[1].output_path")
    wrong = create(call, targets=[{"platform": "intel"}])
    wrong.assert_error(400, "targets[0].task_type 为必填")
    assert "task_type 为必填字段; task_type" not in wrong.message
    assert post(call, "list_tasks").data["total"] == 0


def test_a_group_is_listed_and_controlled_as_one(call: Caller, store: Store,
                                                 add: Callable[..., Task]) -> None:
    group, other = create(call).data, create(call).data
    listed = post(call, "list_tasks", group_id=group["group_id"]).data
    assert listed["total"] == 2
    ids = {state["task_id"] for state in group["tasks"]}
    assert {task["id"] for task in listed["tasks"]} == ids
    assert {task["group_id"] for task in listed["tasks"]} == {group["group_id"]}
    running = group["tasks"][0]["task_id"]
    store.update(running, claim("worker-1"))
    paused = post(call, "pause_task", group_id=group["group_id"]).data
    assert paused["results"] == {task_id: task_id == running for task_id in ids}
    assert "pending" in paused["reasons"][group["tasks"][1]["task_id"]]
    assert post(call, "cancel_task", group_id=group["group_id"]).data["success_count"] == 2
    assert post(call, "batch_delete_tasks", group_id=group["group_id"]).data["success_count"] == 2
    assert post(call, "list_tasks").data["total"] == len(other["tasks"])


def test_an_unknown_group_is_not_found(call: Caller, store: Store) -> None:
    for name in ("pause_task", "cancel_task", "batch_delete_tasks"):
        post(call, name, group_id="group_1").assert_error(404, "任务组不存在")
    assert post(call, "list_tasks", group_id="group_1").data["total"] == 0


def test_a_task_and_a_group_at_once_are_refused(call: Caller, store: Store) -> None:
    post(call, "pause_task", group_id="g", task_id="t").assert_error(400, "group_id", "task_ids")
    post(call, "batch_delete_tasks", group_id="g", task_ids=["t"]).assert_error(400, "group_id", "task_ids")
