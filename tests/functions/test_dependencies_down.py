"""A dependency that is down, or that accepts and never answers: every answer comes within two seconds."""
from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.servers.base import free_port
from shared.deps import close_all, get_store
from shared.documents import Status, Task, TaskResult, new_task_id
from shared.store import Store
from tests.functions.service import Answer, Caller

TIMEOUT_S = 2.5
LIMIT_S = 2 * TIMEOUT_S  # nobody waits for two in turn
URLS = {"store": "mongodb://127.0.0.1:{port}/mc", "queue": "amqp://guest:guest@127.0.0.1:{port}/",
        "files": "minio://key:secretsecret@127.0.0.1:{port}"}
CREATE = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/detector.onnx"}


@contextmanager
def silent_port() -> Iterator[int]:
    """A server that accepts connections and says nothing, as one that hangs does."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture(params=["refuses", "hangs"])
def break_dependency(request: pytest.FixtureRequest, data_dir: Path,
                     monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    with silent_port() as hanging:
        port = hanging if request.param == "hangs" else free_port()

        def break_it(name: str) -> None:
            monkeypatch.setenv(f"MODEL_CONVERT_{name.upper()}_URL", URLS[name].format(port=port))
            monkeypatch.setenv("MODEL_CONVERT_DEPENDENCY_TIMEOUT_S", str(TIMEOUT_S))
            close_all()

        yield break_it
        monkeypatch.undo()
        close_all()


def timed(call: Callable[[], Answer]) -> Answer:
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < LIMIT_S
    return answer


@pytest.mark.parametrize(("name", "method", "path", "body"), [
    ("query_task", "POST", "/tasks/query", {"task_id": "task_1"}),
    ("get_task_status", "GET", "/tasks/task_1/status", None),
    ("list_tasks", "POST", "/tasks/list", {}),
    ("batch_delete_tasks", "POST", "/tasks/batch-delete", {"task_ids": ["task_1", "task_2"]}),
    ("pause_task", "POST", "/tasks/pause", {"task_id": "task_1"}),
    ("resume_task", "POST", "/tasks/resume", {"task_id": "task_1"}),
    ("cancel_task", "POST", "/tasks/cancel", {"task_id": "task_1"}),
    ("retry_task", "POST", "/tasks/retry", {"task_id": "task_1"}),
    ("cancel_task", "POST", "/tasks/cancel", {"task_ids": ["task_1", "task_2"]}),
    ("get_task_events", "GET", "/tasks/task_1/events", None),
    ("get_task_log", "GET", "/tasks/task_1/log", None),
    ("create_task", "POST", "/tasks/create", CREATE),
    ("list_platforms", "GET", "/platforms", None)])
def test_without_the_store_every_function_says_so(alone: Caller, break_dependency: Callable[[str], None], name: str,
                                                  method: str, path: str, body: dict[str, object] | None) -> None:
    break_dependency("store")
    timed(lambda: alone(name, method, path, json=body)).assert_error(503, "store")


@pytest.mark.parametrize("down", ["store", "queue", "files"])
def test_health_names_what_is_down_and_what_is_up(alone: Caller, break_dependency: Callable[[str], None],
                                                  down: str) -> None:
    break_dependency(down)
    up = [f"{name} up" for name in ("store", "queue", "files") if name != down]
    timed(lambda: alone("health", "GET", "/health")).assert_error(503, f"{down} down", *up)


def test_a_task_is_created_without_the_queue(alone: Caller, break_dependency: Callable[[str], None]) -> None:
    break_dependency("queue")
    answer = timed(lambda: alone("create_task", "POST", "/tasks/create", json=CREATE))
    task = get_store().get(answer.data["task_id"])
    assert (task.status, task.announced) == (Status.PENDING, -1)  # the sweeper will ring


def test_tasks_are_paused_resumed_and_deleted_without_the_queue(
        alone: Caller, store: Store, add: Callable[..., Task], break_dependency: Callable[[str], None]) -> None:
    owned = [add(status="running", owner=f"w{number}", epoch=1).id for number in range(5)]
    parked = add(status="paused", epoch=1).id
    break_dependency("queue")
    timed(lambda: alone("pause_task", "POST", "/tasks/pause", json={"task_id": owned[0]})).data  # noqa: B018
    timed(lambda: alone("resume_task", "POST", "/tasks/resume", json={"task_id": owned[0]})).data  # noqa: B018
    timed(lambda: alone("resume_task", "POST", "/tasks/resume", json={"task_id": parked})).data  # noqa: B018
    assert get_store().get(owned[0]).status == get_store().get(parked).status == Status.RUNNING
    deleted = timed(lambda: alone("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": owned})).data
    assert deleted["success_count"] == 5


def test_many_tasks_are_cancelled_and_retried_without_the_queue(
        alone: Caller, store: Store, add: Callable[..., Task], break_dependency: Callable[[str], None]) -> None:
    ids = [add(status="running", owner=f"w{number}", epoch=1).id for number in range(5)]
    break_dependency("queue")
    for name, status in (("cancel", Status.FAILED), ("retry", Status.PENDING)):
        answer = timed(lambda name=name: alone(f"{name}_task", "POST", f"/tasks/{name}", json={"task_ids": ids}))
        assert answer.data["success_count"] == 5
        assert {task.status for task in get_store().get_many(ids).values()} == {status}


def test_a_log_is_unavailable_while_the_object_store_is_away(
        alone: Caller, store: Store, add: Callable[..., Task], break_dependency: Callable[[str], None]) -> None:
    task = add(status="running", stage="compile", epoch=1)
    break_dependency("files")
    timed(lambda: alone("get_task_log", "GET", f"/tasks/{task.id}/log")).assert_error(503, "files")


def test_a_task_that_ran_is_kept_while_its_logs_cannot_be_deleted(
        alone: Caller, store: Store, add: Callable[..., Task], break_dependency: Callable[[str], None]) -> None:
    task = add(status="failed", epoch=1)
    break_dependency("files")
    data = timed(lambda: alone("batch_delete_tasks", "POST", "/tasks/batch-delete", json={"task_ids": [task.id]})).data
    assert data["results"] == {task.id: False} and get_store().get(task.id) is not None


def test_a_task_is_kept_while_its_artefact_cannot_be_deleted(
        alone: Caller, store: Store, add: Callable[..., Task], break_dependency: Callable[[str], None]) -> None:
    task_id, waiting_id = new_task_id(), add().id
    path = f"results/{task_id}/a.xml"
    add(id=task_id, status="completed", output_path=path, result=TaskResult(
        path=path, files=[path], sha256="0" * 64, size_bytes=1, manifest_path=f"results/{task_id}/manifest.json"))
    break_dependency("files")
    data = timed(lambda: alone("batch_delete_tasks", "POST", "/tasks/batch-delete",
                               json={"task_ids": [task_id, waiting_id]})).data
    assert data["results"] == {task_id: False, waiting_id: True}
    assert get_store().get(task_id) is not None
