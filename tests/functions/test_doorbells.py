"""What the functions tell the workers, over a real RabbitMQ."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from shared.deps import close_all, get_queue, get_store
from shared.documents import Task
from shared.messages import ControlTask, RunTask
from shared.queue import Delivery, Subscription
from shared.store import Store
from tests.functions.service import Caller

CREATE = {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": "models/detector.onnx"}


@pytest.fixture
def worker(data_dir: object, amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Subscription]:
    """The ear of a worker that serves one target; the functions use the same broker."""
    monkeypatch.setenv("MODEL_CONVERT_QUEUE_URL", amqp_url)
    close_all()
    subscription = get_queue().subscribe("worker-1", ["intel"])
    yield subscription
    subscription.close()
    monkeypatch.undo()
    close_all()


def hear(worker: Subscription, timeout_s: float = 60.0) -> RunTask | ControlTask | None:
    delivery: Delivery | None = worker.receive(platforms=frozenset({"intel"}), timeout_s=timeout_s)
    if delivery is None:
        return None
    delivery.ack()
    return delivery.message


def wait_announced(task_id: str, epoch: int) -> None:
    """It is noted beside the request, soon after it."""
    deadline = time.monotonic() + 60
    while get_store().get(task_id).announced != epoch:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_created_task_is_announced_and_marked(alone: Caller, worker: Subscription) -> None:
    data = alone("create_task", "POST", "/tasks/create", json=CREATE | {"priority": "high"}).data
    heard = hear(worker)
    assert isinstance(heard, RunTask)
    assert (heard.task_id, heard.epoch, heard.platform, heard.priority) == (data["task_id"], 0, "intel", "high")
    wait_announced(data["task_id"], 0)


def test_a_repeated_request_rings_once(alone: Caller, worker: Subscription) -> None:
    for _ in range(2):
        alone("create_task", "POST", "/tasks/create", json=CREATE | {"idempotency_key": "ring-once"}).data  # noqa: B018
    assert isinstance(hear(worker), RunTask)
    assert hear(worker, timeout_s=0.5) is None


def test_a_parked_task_that_is_resumed_is_announced(alone: Caller, worker: Subscription,
                                                    add: Callable[..., Task]) -> None:
    task = add(status="paused", epoch=4, announced=3, platform="intel")
    alone("resume_task", "POST", "/tasks/resume", json={"task_id": task.id}).data  # noqa: B018
    heard = hear(worker)
    assert isinstance(heard, RunTask) and (heard.task_id, heard.epoch) == (task.id, 4)
    wait_announced(task.id, 4)


@pytest.mark.parametrize("body", [{"task_id": "task_1_retried"}, {"task_ids": ["task_1_retried", "task_1_none"]}])
def test_a_retried_task_is_announced(alone: Caller, worker: Subscription, add: Callable[..., Task], store: Store,
                                     body: dict[str, object]) -> None:
    task = add(id="task_1_retried", status="failed", epoch=4, announced=3, platform="intel")
    assert alone("retry_task", "POST", "/tasks/retry", json=body).status == 200
    heard = hear(worker)
    assert isinstance(heard, RunTask) and (heard.task_id, heard.epoch) == (task.id, 4)
    wait_announced(task.id, 4)


def test_each_owner_of_many_cancelled_tasks_is_told(alone: Caller, worker: Subscription,
                                                    add: Callable[..., Task]) -> None:
    ids = {add(status="running", owner="worker-1", epoch=1, announced=1, platform="intel").id for _ in range(3)}
    for task_id in ids:
        worker.watch(task_id)
    assert hear(worker, timeout_s=0.5) is None
    assert alone("cancel_task", "POST", "/tasks/cancel", json={"task_ids": sorted(ids)}).data["success_count"] == 3
    assert {hear(worker).task_id for _ in ids} == ids


@pytest.mark.parametrize(("name", "path", "status"), [
    ("pause_task", "/tasks/pause", "running"), ("resume_task", "/tasks/resume", "paused"),
    ("cancel_task", "/tasks/cancel", "running"), ("cancel_task", "/tasks/cancel", "paused"),
    ("batch_delete_tasks", "/tasks/batch-delete", "running")])
def test_an_owner_is_told_of_every_change_a_client_makes(alone: Caller, worker: Subscription, add: Callable[..., Task],
                                                         name: str, path: str, status: str) -> None:
    task = add(status=status, owner="worker-1", epoch=1, announced=1, platform="intel")
    worker.watch(task.id)
    body = {"task_ids": [task.id]} if name == "batch_delete_tasks" else {"task_id": task.id}
    # The binding takes effect while the worker listens.
    assert hear(worker, timeout_s=0.5) is None
    alone(name, "POST", path, json=body).data  # noqa: B018
    heard = hear(worker)
    assert isinstance(heard, ControlTask) and heard.task_id == task.id
