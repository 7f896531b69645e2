"""Cambricon through a real service and worker, in an interpreter as in the vendor's image, with the stand-in for
MagicMind: there is no MLU and no MagicMind here."""
from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests import models
from tests.fixtures.services import Service
from tests.standins.magicmind_interpreter import make_interpreter, make_monitor

MakeService = Callable[..., Service]
STAGES = ["fetch", "inspect", "optimize", "reference", "compile", "verify", "publish"]
MAGIC = b"STAND-IN for MagicMind\n"


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_interpreter(tmp_path_factory.mktemp("vendor"))


@pytest.fixture
def make(make_service: MakeService, vendor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeService:
    """`make(workers, happens="", mlus=0)`: a service whose workers serve Cambricon alone."""
    def make(workers: int = 1, happens: str = "", mlus: int = 0, **settings: str) -> Service:
        monkeypatch.setenv("STANDIN_MAGICMIND", happens)
        monkeypatch.setenv("STANDIN_MLU_DEVICES", str(mlus))
        monkeypatch.setenv("PATH", f"{make_monitor(tmp_path / 'bin', 'MLU370')}:{os.environ['PATH']}")
        return make_service(workers=workers, platforms="cambricon", cambricon_python=str(vendor),
                            toolchain_env="STANDIN_MAGICMIND,STANDIN_MLU_DEVICES", **settings)
    return make


def put(service: Service, path: str, data: bytes) -> str:
    source = service.data_dir / "upload"
    source.write_bytes(data)
    service.files().upload(source, path)
    return path


def convert(service: Service, parameters: dict[str, Any], model: bytes | None = None) -> str:
    path = put(service, "models/in.onnx", model or models.convolution().SerializeToString())
    return service.client.create_task(task_type="onnx_to_magicmind", platform="cambricon", input_path=path,
                                      output_path="results/out.mm", parameters=parameters)


def finish(service: Service, parameters: dict[str, Any], model: bytes | None = None) -> dict[str, Any]:
    return service.finish([convert(service, parameters, model)])[0]


def download(service: Service, path: str) -> bytes:
    target = service.data_dir / "download"
    service.files().download(path, target, max_bytes=1 << 30)
    return target.read_bytes()


def calibration_zip(service: Service, count: int = 12) -> str:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(count):
            sample = io.BytesIO()
            np.save(sample, np.random.default_rng(number).random((1, 3, 32, 32), np.float32))
            archive.writestr(f"{number}.npy", sample.getvalue())
    return put(service, "models/calibration.zip", buffer.getvalue())


def shown(service: Service) -> dict[str, Any]:
    return next(platform for platform in service.client.call("GET", "/platforms")["platforms"]
                if platform["name"] == "cambricon")


def test_what_the_tool_does_not_know_in_its_simplified_form_is_converted_as_it_was_sent(make: MakeService) -> None:
    service = make()
    normalising = models.normalising().SerializeToString()
    task = finish(service, {"chip": "mtp_372"}, normalising)
    assert task["status"] == "completed", task["error"]
    assert [(row["name"], row["status"], row.get("code")) for row in task["result"]["attempts"]] == [
        ("simplified", "failed", "unsupported_operator"), ("as-sent", "not_compared", None)]
    assert "LayerNormalization" in task["result"]["attempts"][0]["message"]
    assert "simplify" not in task["parameters"]
    report = json.loads(download(service, task["result"]["report_path"]))
    assert report["parameters"]["simplify"] is False and "made of the model as it was sent" in report["warnings"][0]
    refused = finish(service, {"chip": "mtp_372", "simplify": True}, normalising)
    assert (refused["error"]["code"], refused["error"].get("attempts")) == ("unsupported_operator", None)



def test_a_worker_without_a_card_compiles_and_tells_that_nothing_was_compared(make: MakeService) -> None:
    service = make()
    assert shown(service)["workers"][0]["tools"].items() >= {"magicmind": "1.7.0", "mlu": "none"}.items()
    task = finish(service, {"precision": "fp16"})
    assert task["status"] == "completed", task["error"]
    assert [stage["name"] for stage in task["stages"]] == STAGES
    assert download(service, "results/out.mm").startswith(MAGIC)
    assert task["result"]["accuracy"]["skipped"] is True and "no MLU" in task["result"]["accuracy"]["reason"]
    manifest = download(service, task["result"]["manifest_path"]).decode()
    assert "builder.build_model" in manifest and str(service.data_dir) not in manifest
    error = finish(service, {"precision": "int8", "calibration": calibration_zip(service)})["error"]
    assert (error["code"], error["stage"]) == ("calibration_needs_device", "compile")


def test_a_worker_with_a_card_quantizes_and_compares(make: MakeService) -> None:
    service = make(mlus=1)
    assert shown(service)["workers"][0]["tools"]["mlu"] == "MLU370"
    task = finish(service, {"precision": "int8", "calibration": calibration_zip(service), "layout": "nhwc"})
    assert task["status"] == "completed", task["error"]
    accuracy = task["result"]["accuracy"]
    assert accuracy["passed"] is True and min(entry["cosine"] for entry in accuracy["outputs"]) > 0.98
    about = json.loads(download(service, "results/out.mm").split(b"\n")[1])
    assert about["settings"]["precision_config"]["precision_mode"] == "qint8_mixed_float16"
    assert about["inputs"][0]["shape"] == [1, 32, 32, 3]


def test_auto_without_a_card_takes_floating_point_since_nothing_can_be_compared(make: MakeService) -> None:
    service = make()
    task = finish(service, {"precision": "auto", "calibration": calibration_zip(service)})
    assert task["status"] == "completed", task["error"]
    rows = task["result"]["attempts"]
    assert [(row["name"], row["status"], row["code"]) for row in rows] == [
        *((name, "failed", "calibration_needs_device") for name in ("int8", "int8-eqnm", "int8-axis", "int16")),
        ("fp16", "not_compared", None)]
    assert rows[-1]["chosen"] and "no MLU" in rows[-1]["message"]


def test_auto_with_a_card_takes_the_fastest_that_passes(make: MakeService) -> None:
    service = make(mlus=1)
    task = finish(service, {"precision": "auto", "calibration": calibration_zip(service)})
    assert task["status"] == "completed", task["error"]
    assert [(row["name"], row["status"]) for row in task["result"]["attempts"]] == [("int8", "passed")]


def test_what_a_worker_without_a_card_left_out_is_made_up_for_by_one_that_has_it(make: MakeService) -> None:
    without = make()
    assert finish(without, {"precision": "fp32"})["result"]["accuracy"]["skipped"] is True
    shared = {"store_url": without.environment["MODEL_CONVERT_STORE_URL"],
              "files_url": without.environment["MODEL_CONVERT_FILES_URL"],
              "cache_dir": without.environment["MODEL_CONVERT_CACHE_DIR"]}
    without.stop()
    task = finish(make(mlus=1, **shared), {"precision": "fp32"})
    assert task["status"] == "completed", task["error"]
    assert task["result"]["accuracy"]["passed"] is True
    assert {stage["name"]: stage["cached"] for stage in task["stages"]}["reference"] is True


def test_an_operator_that_the_parser_lacks_fails_with_its_name(make: MakeService) -> None:
    nodes = [helper.make_node("Det", ["x"], ["d"]), helper.make_node("Relu", ["d"], ["y"])]
    model = models.model(nodes, [models.value("x", [4, 4])], [models.value("y", [])])
    task = finish(make(), {}, model.SerializeToString())
    assert task["status"] == "failed"
    assert (task["error"]["code"], task["error"]["stage"]) == ("unsupported_operator", "compile")
    assert task["error"]["message"].endswith("it refuses: Det")
    assert "failed to legalize operation 'onnx.Det'" in task["error"]["log_tail"]


@pytest.mark.parametrize(("happens", "code"), [
    ("no-file", "compile_failed"), ("unreadable", "compile_failed"), ("no-model", "unsupported_operator"),
    ("out-of-memory", "out_of_memory"), ("abort", "stage_crashed")])
def test_a_build_that_fails_fails_the_task_and_leaves_nothing_behind(
        make: MakeService, happens: str, code: str) -> None:
    service = make(happens=happens)
    task = finish(service, {})
    assert (task["status"], task["error"]["code"], task["error"]["stage"]) == ("failed", code, "compile")
    assert service.files().stat("results/out.mm") is None


def test_a_slow_build_can_be_cancelled(make: MakeService) -> None:
    service = make(happens="slow=60")
    task_id = convert(service, {})
    service.wait(lambda: service.client.query_task(task_id)["stage"] == "compile")
    service.client.call("POST", "/tasks/cancel", {"task_id": task_id})
    assert service.finish([task_id], 10)[0]["error"]["code"] == "cancelled"


def test_without_magicmind_on_any_worker_a_task_waits_and_the_target_says_so(
        make_service: MakeService, tmp_path: Path) -> None:
    plain = make_interpreter(tmp_path / "plain", with_magicmind=False)
    service = make_service(workers=0, platforms="cambricon,intel", cambricon_python=str(plain))
    service.start_worker()
    service.wait(lambda: service.client.call("GET", "/platforms")["platforms"])
    assert shown(service)["workers"] == []
    task_id = convert(service, {})
    assert service.client.query_task(task_id)["status"] == "pending"
