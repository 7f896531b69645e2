"""ONNX to .om through a real worker, with a stand-in for CANN's toolkit; and what is seen while no worker has one."""
from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.services import Service
from tests.standins.atc import VERSION, commands, install, tell

MakeService = Callable[..., Service]
SHAPE = {"input_shape": [1, 3, 48, 192], "soc_version": "Ascend310P3"}


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    return install(tmp_path / "Ascend")


@pytest.fixture
def service(make_service: MakeService, toolkit: Path, models: dict[str, Path]) -> Service:
    service = make_service(workers=0, platforms="huawei")
    service.files().upload(models["cls"], "models/classifier.onnx")
    start_worker(service, toolkit)
    return service


def start_worker(service: Service, toolkit: Path) -> None:
    service.start_worker(ASCEND_HOME=str(toolkit))
    service.wait_for_workers()


def create(service: Service, input_path: str = "models/classifier.onnx", **parameters: Any) -> str:
    return service.client.create_task(task_type="onnx_to_om", platform="huawei", input_path=input_path,
                                      parameters=SHAPE | parameters)


def content(service: Service, path: str, folder: Path) -> bytes:
    service.files().download(path, folder / "got", max_bytes=1 << 30)
    return (folder / "got").read_bytes()


def target(service: Service) -> dict[str, Any]:
    (found,) = (entry for entry in service.client.call("GET", "/platforms")["platforms"] if entry["name"] == "huawei")
    return found


def test_without_a_toolkit_the_target_says_so_and_its_tasks_wait_for_a_worker_that_has_one(
        make_service: MakeService, toolkit: Path, models: dict[str, Path]) -> None:
    service = make_service(workers=1, platforms="huawei,intel")
    service.files().upload(models["cls"], "models/classifier.onnx")
    assert target(service)["workers"] == [] and target(service)["tools"] == {}
    task_id = create(service)
    time.sleep(2)
    task = service.client.query_task(task_id)
    assert task["status"] == "pending" and task["stages"] == [] and task["error"] is None
    start_worker(service, toolkit)
    assert target(service)["tools"]["cann"] == [VERSION]
    assert service.finish([task_id])[0]["status"] == "completed"


def test_a_model_becomes_an_om_with_its_report_and_manifest(service: Service, toolkit: Path, tmp_path: Path) -> None:
    service.files().upload(_file(tmp_path / "aipp.cfg", b"aipp_op { aipp_mode: static }"), "configs/my aipp.cfg")
    task = service.finish([create(service, extra_params={"insert_op_conf": "configs/my aipp.cfg",
                                                         "output_type": "FP32"})])[0]
    assert task["status"] == "completed", task["error"]
    assert [stage["name"] for stage in task["stages"]] == ["fetch", "inspect", "optimize", "files", "precheck",
                                                            "compile", "describe", "publish"]
    result = task["result"]
    om = content(service, result["path"], tmp_path)
    assert result["path"].endswith("/classifier.om") and om.startswith(b"IMOD") and len(om) == result["size_bytes"]
    assert result["accuracy"] is None and result["toolchain"]["cann"] == VERSION
    report = json.loads(content(service, result["report_path"], tmp_path))
    assert report["precision"] == "allow_fp32_to_fp16" and report["memory"]["weight_size"] == 5170176
    assert any("not compared with ONNX Runtime" in text for text in report["warnings"])
    (compiled,) = (line for line in report["commands"] if "--mode=0" in line)
    assert "--insert_op_conf=files/insert_op_conf.cfg" in compiled and "--input_shape=x:1,3,48,192" in compiled
    manifest = content(service, result["manifest_path"], tmp_path).decode()
    assert compiled in json.loads(manifest)["stages"][5]["commands"] and str(tmp_path) not in manifest

    again = service.finish([create(service, extra_params={"insert_op_conf": "configs/my aipp.cfg",
                                                          "output_type": "FP32"})])[0]
    assert {stage["name"]: stage["cached"] for stage in again["stages"]}["compile"] is True
    service.files().upload(_file(tmp_path / "aipp.cfg", b"aipp_op { aipp_mode: dynamic }"), "configs/my aipp.cfg")
    changed = service.finish([create(service, extra_params={"insert_op_conf": "configs/my aipp.cfg",
                                                            "output_type": "FP32"})])[0]
    cached = {stage["name"]: stage["cached"] for stage in changed["stages"]}
    assert cached["optimize"] is True and cached["files"] is False and cached["compile"] is False


@pytest.mark.parametrize(("mode", "behaviour", "code", "vendor_code", "stage"), [
    (3, {"fails": "E19010: No parser is registered for Op [a, optype [ai.onnx::13::MyOp]]."}, "unsupported_operator",
     "E19010", "precheck"),
    (0, {"fails": "EZ3003: No supported Ops kernel and engine are found for [a], optype [MyOp]."},
     "unsupported_operator", "EZ3003", "compile"),
    (0, {"fails": "E40020: Failed to import Python module [No module named 'decorator']."}, "toolchain_broken",
     "E40020", "compile"),
    (0, {"signal": signal.SIGSEGV}, "stage_crashed", None, "compile"),
    (0, {"signal": signal.SIGABRT, "prints": "what():  std::bad_alloc"}, "out_of_memory", None, "compile"),
    (0, {"output": "missing"}, "compile_failed", None, "compile"),
    (6, {"output": "silent"}, "compile_failed", None, "describe"),
], ids=["no parser", "no kernel", "no module", "crash", "out of memory", "no .om although success", "unreadable"])
def test_a_failure_of_atc_is_the_tasks_and_a_retry_starts_where_it_failed(
        service: Service, toolkit: Path, mode: int, behaviour: dict[str, Any], code: str, vendor_code: str | None,
        stage: str) -> None:
    tell(toolkit, mode, **behaviour)
    task_id = create(service)
    task = service.finish([task_id])[0]
    assert task["status"] == "failed" and task["result"] is None
    assert (task["error"]["code"], task["error"]["vendor_code"], task["error"]["stage"]) == (code, vendor_code, stage)
    assert task["error"]["message"] and task["error"]["hint"] and "ATC start working now" in task["error"]["log_tail"]
    assert list(service.files().find(f"results/{task_id}/")) == []
    tell(toolkit, mode)
    before = len(commands(toolkit))
    service.client.call("POST", "/tasks/retry", {"task_id": task_id})
    service.wait(lambda: service.client.query_task(task_id)["status"] == "completed")
    modes = [line[0] for line in commands(toolkit)[before:]]
    assert modes == [f"--mode={m}" for m in (3, 0, 6)[(3, 0, 6).index(mode):]]


def test_a_pause_stills_the_compilers_and_a_cancel_leaves_none(service: Service, toolkit: Path) -> None:
    tell(toolkit, 0, dots=3000, compilers=2)
    task_id = create(service)
    worker = psutil.Process(service.workers[0].pid)

    def compilers() -> list[psutil.Process]:
        return [process for process in worker.children(recursive=True) if "while True" in " ".join(_cmdline(process))]

    found = service.wait(lambda: len(now := compilers()) == 2 and now)
    service.wait(lambda: service.client.query_task(task_id)["progress"] > 0)

    def cpu_s() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in found)

    service.wait(lambda: cpu_s() > 0.2)
    service.client.call("POST", "/tasks/pause", {"task_id": task_id})
    service.wait(lambda: all(process.status() == psutil.STATUS_STOPPED for process in found))
    frozen = cpu_s()
    time.sleep(0.5)
    assert cpu_s() == frozen
    service.client.call("POST", "/tasks/resume", {"task_id": task_id})
    service.wait(lambda: cpu_s() > frozen)
    service.client.call("POST", "/tasks/cancel", {"task_id": task_id})
    service.wait(lambda: not any(process.is_running() for process in found))
    assert service.client.query_task(task_id)["error"]["code"] == "cancelled"


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
