"""POST /tasks/create: a request becomes one task, whole and safe."""
from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.servers.base import Server
from shared.deps import close_all
from shared.documents import Status
from shared.platforms import get_platforms
from shared.store import Store, TaskFilter
from tests.functions.service import Caller, call_over_http

REQUEST = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/ocr/detector.v4.onnx"}


def create(call: Caller, **change: object) -> str:
    answer = call("create_task", "POST", "/tasks/create", json=REQUEST | change)
    assert answer.message == "任务创建成功", answer.message
    assert list(answer.data) == ["task_id", "status"] and answer.data["status"] == "pending"
    return answer.data["task_id"]


def test_a_created_task_waits_with_every_parameter_filled_in(call: Caller, store: Store) -> None:
    before = time.time()
    task_id = create(call, parameters={"input_shape": "1,3,480,480"}, labels={"team": "ocr"})
    task = store.get(task_id)
    assert re.fullmatch(r"task_\d{10}_\d{8,}", task_id)
    assert (task.status, task.owner, task.epoch, task.announced) == (Status.PENDING, None, 0, -1)
    assert before <= task.created_at == task.updated_at == task.queue_order <= time.time()
    assert task.input_path == "models/ocr/detector.v4.onnx" and task.labels == {"team": "ocr"}
    expected = get_platforms()["intel"].parameters(input_shape="1,3,480,480").model_dump(mode="json")
    assert task.parameters == expected and "precision" in expected


def test_without_an_output_path_the_artefact_goes_to_the_tasks_own_folder(call: Caller, store: Store) -> None:
    task_id = create(call)
    assert store.get(task_id).output_path == f"results/{task_id}/detector.v4.xml"


def test_a_clients_output_path_is_taken_as_it_is(call: Caller, store: Store) -> None:
    task_id = create(call, input_path="models/A.ONNX", output_path="mine/out/检测.xml")
    assert store.get(task_id).output_path == "mine/out/检测.xml"


def test_a_high_priority_overtakes_what_came_less_than_an_hour_before(call: Caller, store: Store) -> None:
    low, normal, high = (create(call, priority=priority) for priority in ("low", "normal", "high"))
    assert [task.id for task in store.waiting(["intel"], limit=10)] == [high, normal, low]
    assert store.get(normal).queue_order - store.get(high).queue_order == pytest.approx(3600, abs=60)


def test_absolute_paths_are_taken_below_a_configured_root(alone: Caller, store: Store, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_LOCAL_ROOTS", str(tmp_path))
    close_all()
    try:
        task_id = create(alone, input_path=f"{tmp_path}/in.onnx", output_path=f"{tmp_path}/out.xml")
        alone("create_task", "POST", "/tasks/create", json=REQUEST | {"input_path": "/etc/in.onnx"}).assert_error(
            400, "input_path")
    finally:
        monkeypatch.undo()
        close_all()
    task = store.get(task_id)
    assert (task.input_path, task.output_path) == (f"{tmp_path}/in.onnx", f"{tmp_path}/out.xml")


def test_the_same_key_and_request_answer_the_same_task(call: Caller, store: Store) -> None:
    first = create(call, idempotency_key="k-1", parameters={"precision": "fp16"})
    # The default spelled out and another order are the same request.
    again = create(call, parameters={"auto_input_shape": True, "precision": "fp16"}, idempotency_key="k-1")
    assert first == again and store.list_page(TaskFilter(), 1, 10)[1] == 1


@pytest.mark.parametrize("change", [
    {"input_path": "models/other.onnx"}, {"output_path": "mine/out.xml"}, {"priority": "high"},
    {"labels": {"a": "b"}}, {"parameters": {"precision": "fp32"}}])
def test_the_same_key_with_another_request_is_a_conflict(call: Caller, store: Store, change: dict[str, object]) -> None:
    first = create(call, idempotency_key="k-2")
    call("create_task", "POST", "/tasks/create", json=REQUEST | {"idempotency_key": "k-2"} | change).assert_error(
        409, "idempotency_key")
    assert [task.id for task in store.list_page(TaskFilter(), 1, 10)[0]] == [first]


def test_without_a_key_equal_requests_are_two_tasks(call: Caller, store: Store) -> None:
    assert create(call) != create(call)
    assert store.list_page(TaskFilter(), 1, 10)[1] == 2


def test_of_twenty_at_once_with_one_key_one_task_comes(gateway: Server, store: Store) -> None:
    call = call_over_http(gateway.url)
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: create(call, idempotency_key="k-3"), range(20)))
    assert len(ids) == 1 and store.list_page(TaskFilter(), 1, 10)[1] == 1


def test_two_hundred_creates_at_once_are_two_hundred_tasks(gateway: Server, store: Store) -> None:
    call = call_over_http(gateway.url)
    with ThreadPoolExecutor(200) as pool:
        ids = set(pool.map(lambda _: create(call), range(200)))
    assert len(ids) == 200 and store.list_page(TaskFilter(), 1, 1)[1] == 200
    assert call("health", "GET", "/health").status == 200


@pytest.mark.parametrize(("length", "fits"), [(237, True), (238, False), (251, False)])
def test_an_output_whose_by_products_could_not_be_named_is_refused(call: Caller, store: Store, length: int,
                                                                  fits: bool) -> None:
    """`.xml.manifest.json`, the longest, has 18 bytes; a file's name has 255 at most."""
    answer = call("create_task", "POST", "/tasks/create", json=REQUEST | {"output_path": f"out/{'o' * length}.xml"})
    assert (answer.status == 200) is fits
    assert fits or ("output_path" in answer.message and ".manifest.json" in answer.message)


def test_the_default_output_of_a_long_name_is_cut_to_what_can_be_named(call: Caller, store: Store) -> None:
    for name in ("n" * 250, "模" * 83):
        task_id = create(call, input_path=f"models/{name}.onnx")
        path = store.get(task_id).output_path
        stem = Path(path).name.removesuffix(".xml")
        assert name.startswith(stem) and 252 < len(f"{stem}.xml.manifest.json".encode()) <= 255


@pytest.mark.parametrize(("output", "calibration", "harmed"), [
    ("models/m.xml", "models/m.bin", "models/m.bin"), ("models/set/m.xml", "models/set/", "models/set"),
    ("models/set/deep/m.xml", "models/set", "models/set"), ("models/m.xml", "models/m.xml.report.html", "report.html"),
    ("models/ocr/detector.v4.onnx/m.xml", None, "detector.v4.onnx")])
def test_an_output_in_the_place_of_an_input_is_a_conflict(call: Caller, store: Store, output: str,
                                                         calibration: str | None, harmed: str) -> None:
    parameters = {"precision": "int8", "calibration": calibration} if calibration else {}
    answer = call("create_task", "POST", "/tasks/create", json=REQUEST | {"output_path": output,
                                                                          "parameters": parameters})
    answer.assert_error(409, harmed)
    assert store.list_page(TaskFilter(), 1, 10)[1] == 0


def test_an_output_in_another_tasks_folder_is_a_conflict(call: Caller, store: Store) -> None:
    first = create(call)
    for folder in (first, f"{first}/deeper"):
        answer = call("create_task", "POST", "/tasks/create", json=REQUEST | {"output_path": f"results/{folder}/m.xml"})
        answer.assert_error(409, first)
