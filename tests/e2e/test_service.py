"""Real conversions through real processes, in both profiles."""
from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.services import Service, processes_that_mention
from tests.integration.toy_models import small_model

DETECTOR, CLASSIFIER = "det", "cls"
STAGES = ("fetch", "inspect", "optimize", "reference", "prepare", "compile", "verify", "publish")
LONG_REFERENCE = {"input_shape": [1, 3, 640, 640], "verify": {"samples": 8}}
MakeService = Callable[..., Service]


def upload(service: Service, model: Path, path: str) -> str:
    service.files().upload(model, path)
    return path


def test_forty_tasks_on_two_workers_run_once_each_and_no_stage_twice(
        profile: dict[str, str], make_service: MakeService, tmp_path: Path) -> None:
    service = make_service(workers=2, **profile)
    model = tmp_path / "model.onnx"  # a small one: the shorter the stages, the more the workers meet
    model.write_bytes(small_model(rows="rows"))
    path = upload(service, model, "models/any-rows.onnx")  # tests of other files share the bucket
    task_ids = [service.convert(path, parameters={"input_shape": [1 + number, 2]}) for number in range(40)]
    tasks = service.finish(task_ids)
    assert [task["error"] for task in tasks if task["status"] != "completed"] == []
    ran = Counter((entry["task_id"], entry["stage"]) for entry in service.finished_stages())
    assert set(ran.values()) == {1}
    assert {task_id for task_id, _ in ran} == set(task_ids)
    assert len({entry["worker"] for entry in service.finished_stages()}) == 2

    again = service.finish([service.convert(path, parameters={"input_shape": [1, 2]})])[0]
    assert {s["name"]: s["cached"] for s in again["stages"]} == {
        "fetch": True, "inspect": True, "optimize": True, "reference": True, "prepare": True, "compile": True,
        "verify": True, "publish": False}
    assert again["result"]["sha256"] == tasks[0]["result"]["sha256"]


def test_a_killed_workers_task_goes_on_elsewhere_and_repeats_only_its_running_stage(
        profile: dict[str, str], make_service: MakeService, models: dict[str, Path]) -> None:
    service = make_service(workers=1, **profile)
    path = upload(service, models[DETECTOR], "models/detector.onnx")
    task_id = service.convert(path, parameters={"input_shape": [1, 3, 960, 960], "verify": {"samples": 4}})

    def in_reference() -> bool:
        task = service.client.query_task(task_id)
        done = {stage["name"] for stage in task["stages"] if stage["status"] == "completed"}
        return task["stage"] == "reference" and {"fetch", "inspect", "optimize"} <= done
    service.wait(in_reference)
    os.kill(service.workers[0].pid, signal.SIGKILL)
    service.start_worker(MODEL_CONVERT_LEASE_S="3")
    task = service.finish([task_id])[0]
    assert task["status"] == "completed"
    finished = [(entry["stage"], entry["worker"]) for entry in service.finished_stages() if not entry["cached"]]
    assert Counter(stage for stage, _ in finished) == dict.fromkeys(STAGES, 1)
    assert len({worker for stage, worker in finished if stage in ("fetch", "inspect", "optimize")}) == 1
    assert len({worker for stage, worker in finished}) == 2


def test_a_deleted_task_leaves_no_process_no_directory_and_no_artefact(
        profile: dict[str, str], make_service: MakeService, models: dict[str, Path]) -> None:
    service = make_service(workers=1, **profile)
    path = upload(service, models[DETECTOR], "models/detector.onnx")
    task_id = service.convert(path, parameters={"input_shape": [1, 3, 960, 960], "verify": {"samples": 4}})
    service.wait(lambda: service.client.query_task(task_id)["stage"] == "reference")
    service.client.call("POST", "/tasks/batch-delete", {"task_ids": [task_id]})
    work = service.data_dir / "work"
    service.wait(lambda: not list(work.glob(f"*/{task_id}*")))
    assert list(service.files().find(f"results/{task_id}/")) == []
    next_id = service.convert(path, parameters={"input_shape": [1, 3, 64, 64]})
    assert service.finish([next_id])[0]["status"] == "completed"


def test_a_paused_task_stays_paused_and_a_resumed_one_completes(
        profile: dict[str, str], make_service: MakeService, models: dict[str, Path]) -> None:
    service = make_service(workers=1, **profile)
    path = upload(service, models[DETECTOR], "models/detector.onnx")
    task_id = service.convert(path, parameters={"input_shape": [1, 3, 960, 960]})
    service.wait(lambda: service.client.query_task(task_id)["stage"] == "reference")
    assert service.client.call("POST", "/tasks/pause", {"task_id": task_id}) == {"task_id": task_id, "status": "paused"}
    os.kill(service.workers[0].pid, signal.SIGTERM)  # it parks the task and ends
    service.workers[0].wait(120)
    assert service.client.query_task(task_id)["status"] == "paused"
    service.start_worker()
    service.wait_for_workers()
    assert service.client.query_task(task_id)["status"] == "paused"
    assert service.client.call("POST", "/tasks/resume", {"task_id": task_id})["status"] == "running"
    assert service.finish([task_id])[0]["status"] == "completed"
    ran = Counter(entry["stage"] for entry in service.finished_stages() if not entry["cached"])
    assert ran["fetch"] == ran["inspect"] == ran["optimize"] == 1


def test_a_stopped_service_leaves_no_process(make_service: MakeService, models: dict[str, Path]) -> None:
    service = make_service(workers=2)
    path = upload(service, models[CLASSIFIER], "models/classifier.onnx")
    service.finish([service.convert(path, parameters={"input_shape": [1, 3, 48, 192]})])
    assert processes_that_mention(str(service.data_dir))
    service.stop()
    service.wait(lambda: not processes_that_mention(str(service.data_dir)))


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator[dict[str, Any]]:
    """The task of `LONG_REFERENCE` that nothing has stopped; its service has a cache of its own."""
    service = Service(tmp_path_factory.mktemp("straight") / "service", {})
    try:
        service.wait(service.ready, 120)
        service.start_worker()
        service.wait_for_workers()
        path = upload(service, models[DETECTOR], "models/detector.onnx")
        yield service.finish([service.convert(path, parameters=LONG_REFERENCE)])[0]
    finally:
        service.stop()


def test_a_pause_stops_the_tools_cpu_long_before_the_next_beat_and_changes_no_bit_of_the_result(
        profile: dict[str, str], make_service: MakeService, models: dict[str, Path], straight: dict[str, Any]) -> None:
    service = make_service(workers=1, beat_s="120", lease_s="600", **profile)
    path = upload(service, models[DETECTOR], "models/detector.onnx")
    task_id = service.convert(path, parameters=LONG_REFERENCE)
    service.wait(lambda: service.client.query_task(task_id)["stage"] == "reference")
    worker = psutil.Process(service.workers[0].pid)

    def ask_tools(what: Callable[[psutil.Process], Any]) -> list[Any]:
        answers = []
        for host in worker.children():
            for process in host.children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # a stage ends between the two looks
                    answers.append(what(process))
        return answers

    def tool_cpu_s() -> float:
        return sum(sum(times[:2]) for times in ask_tools(psutil.Process.cpu_times))

    service.wait(lambda: tool_cpu_s() > 0.2)
    service.client.call("POST", "/tasks/pause", {"task_id": task_id})
    service.wait(lambda: set(ask_tools(psutil.Process.status)) == {psutil.STATUS_STOPPED}, 60)
    frozen = tool_cpu_s()
    time.sleep(1.0)
    assert tool_cpu_s() == frozen > 0
    service.client.call("POST", "/tasks/resume", {"task_id": task_id})
    paused = service.finish([task_id])[0]
    assert [e["type"] for e in service.client.call("GET", f"/tasks/{task_id}/events")["events"]].count("claimed") == 1
    assert paused["result"]["sha256"] == straight["result"]["sha256"]
    assert paused["result"]["accuracy"] == straight["result"]["accuracy"]
