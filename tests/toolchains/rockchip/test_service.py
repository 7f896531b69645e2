"""Rockchip through a real service, a real worker and the real rknn-toolkit2; its simulator stands for the chip."""
from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests import models as toys
from tests.fixtures.calibration import npy, pictures
from tests.fixtures.services import Service
from tests.fixtures.toolhosts import installed

# With the preprocessing that the networks were trained with.
DETECTOR = {"chip": "rk3588", "input_shape": "1,3,320,320", "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375]}
CLASSIFIER = {"chip": "rk3588", "input_shape": "1,3,48,192", "mean": [127.5] * 3, "std": [127.5] * 3}
INT8 = {"precision": "int8", "calibration": "models/set"}
# Parameters, how many calibration samples of which size, and the least cosine. Wholly in INT8 the detector's was 0.982,
# with the layers in floating point that auto_hybrid chose 0.999; the classifier's was 0.9997.
REAL = {
    "detector fp16": ("det", DETECTOR, None, 0.999),
    "detector int8": ("det", DETECTOR | INT8 | {"quantized_algorithm": "kl_divergence", "verify": {
        "samples": 5, "min_cosine": 0.95}}, (20, 320, 320), 0.95),
    "detector int8 hybrid": ("det", DETECTOR | INT8 | {
        "auto_hybrid": True, "auto_hybrid_cos_thresh": 0.999, "verify": {"samples": 5}}, (20, 320, 320), 0.98),
    "classifier fp16": ("cls", CLASSIFIER, None, 0.999),
    "classifier int8": ("cls", CLASSIFIER | INT8 | {"verify": {"samples": 8}}, (48, 48, 192), 0.98),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker that serves Rockchip alone."""
    installed("rockchip")
    service = Service(tmp_path_factory.mktemp("service"), {
        "MODEL_CONVERT_PLATFORMS": "rockchip", "MODEL_CONVERT_PREFLIGHT": "false"})  # the stages' own refusals
    try:
        service.wait(service.ready)
        service.start_worker()
        service.wait_for_workers()
        yield service
    finally:
        service.stop()


def put(service: Service, path: str, data: bytes | Path) -> str:
    source = data
    if isinstance(data, bytes):
        source = service.data_dir / "upload"
        source.write_bytes(data)
    service.files().upload(source, path)
    return path


def finish(service: Service, model: bytes | Path, parameters: dict[str, Any],
           calibration: dict[str, bytes] | None = None) -> dict[str, Any]:
    prefix = parameters.get("calibration", "")
    for path in [entry.path for entry in service.files().find("models/set/")]:
        service.files().delete(path)
    for name, content in (calibration or {}).items():
        put(service, f"{prefix}/{name}", content)
    path = put(service, "models/in.onnx", model)
    task_id = service.client.create_task(task_type="onnx_to_rknn", platform="rockchip", input_path=path,
                                         parameters=parameters)
    return service.finish([task_id])[0]


def download(service: Service, path: str) -> bytes:
    target = service.data_dir / "download"
    service.files().download(path, target, max_bytes=100 << 20)
    return target.read_bytes()


def ran(task: dict[str, Any]) -> list[str]:
    return [stage["name"] for stage in task["stages"]]


@pytest.mark.parametrize(("name", "parameters", "calibration", "bound"), REAL.values(), ids=REAL)
def test_a_real_model_converts_and_the_simulator_agrees(
        service: Service, models: dict[str, Path], name: str, parameters: dict[str, Any],
        calibration: tuple[int, int, int] | None, bound: float) -> None:
    files = None
    if calibration:
        count, height, width = calibration
        files = pictures(count, 1, 3, height, width, scale=255)
    task = finish(service, models[name], parameters, files)
    assert task["status"] == "completed", task["error"]
    precision = parameters.get("precision", "fp16")
    accuracy = task["result"]["accuracy"]
    assert accuracy["passed"] and not accuracy["accepted"] and accuracy["min_cosine"] <= bound
    assert min(entry["cosine"] for entry in accuracy["outputs"]) > bound
    assert download(service, task["result"]["path"]).startswith(b"RKNN")
    assert task["result"]["toolchain"] == installed("rockchip").versions
    report = json.loads(download(service, task["result"]["report_path"]))
    assert report["placement"]["npu"]["ConvHardSwish"] > 10 and report["memory"]["weight"] > 100_000
    assert report["inputs"][0]["dtype"] == {"fp16": "float16", "int8": "int8"}[precision]
    assert "rknn.export_rknn(export_path='model.rknn')" in report["commands"]


def test_an_unsupported_operator_fails_the_task_by_its_name(service: Service) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Acosh", ["c"], ["y"])]
    model = toys.model(nodes, [toys.value("x", [1, 3, 8, 8])], [toys.value("y", [1, 4, 8, 8])],
                       [toys.weights("w", 4, 3, 1, 1)])
    task = finish(service, model.SerializeToString(), {"chip": "rk3588", "verify": {"samples": 1}})
    assert task["status"] == "failed"
    assert (task["error"]["code"], task["error"]["stage"]) == ("unsupported_operator", "compile")
    assert "Acosh" in task["error"]["message"] and "No lowering found" in task["error"]["log_tail"]


GOOD = pictures(4, 1, 3, 32, 32)


@pytest.mark.parametrize(("files", "named"), [
    (GOOD | {"dataset.txt": b"000.npy\n004.npy\n"}, "004.npy"),
    (GOOD | {"bad.npy": npy(np.zeros((1, 3, 31, 32), np.float32))}, "bad.npy"),
    (GOOD | {"bad.npy": b"just some text"}, "bad.npy"),
    (GOOD | {"bad.npy": npy(np.array([{"a": 1}], dtype=object))}, "bad.npy")],
    ids=["a missing file", "a wrong shape", "text named .npy", "an object array"])
def test_a_bad_calibration_set_is_refused_before_the_tool_starts(
        service: Service, files: dict[str, bytes], named: str) -> None:
    task = finish(service, toys.convolution().SerializeToString(), {"chip": "rk3588"} | INT8, files)
    assert task["status"] == "failed"
    assert task["error"]["code"] == "calibration_invalid" and named in task["error"]["message"]
    assert "compile" not in ran(task) and task["error"]["stage"] == "calibration"


def test_a_set_that_tells_nothing_is_refused_unless_the_client_accepts_what_comes_of_it(
        service: Service, models: dict[str, Path]) -> None:
    constant = {"grey.npy": npy(np.full((1, 3, 160, 160), 0.5, np.float32))}
    parameters = {"chip": "rk3588", "input_shape": "1,3,160,160"} | INT8
    task = finish(service, models["det"], parameters, constant)
    assert (task["status"], task["error"]["code"]) == ("failed", "calibration_invalid")
    assert "of one colour" in task["error"]["message"] and "accept_accuracy" in task["error"]["hint"]
    accepted = finish(service, models["det"], parameters | {"accept_accuracy": True}, constant)
    assert accepted["status"] == "completed"
    assert accepted["result"]["accuracy"]["accepted"] and not accepted["result"]["accuracy"]["passed"]


def test_a_zip_is_as_good_as_a_prefix(service: Service) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in GOOD.items():
            archive.writestr(name, content)
    put(service, "models/set.zip", packed.getvalue())
    zipped = finish(service, toys.convolution().SerializeToString(),
                    {"chip": "rk3566", "precision": "int8", "calibration": "models/set.zip"})
    plain = finish(service, toys.convolution().SerializeToString(), {"chip": "rk3566"} | INT8, GOOD)
    assert zipped["status"] == plain["status"] == "completed"
    assert zipped["result"]["sha256"] == plain["result"]["sha256"]  # the sets are one: so is the cached result


def test_the_service_tells_which_chips_there_are(service: Service) -> None:
    targets = {entry["name"]: entry for entry in service.client.call("GET", "/platforms")["platforms"]}
    target = targets["rockchip"]
    assert target["parameters"]["properties"]["chip"]["enum"] == [
        "rk3562", "rk3566", "rk3568", "rk3576", "rk3588", "rv1103", "rv1103b", "rv1106", "rv1106b", "rv1126b", "rk2118"]
    version = installed("rockchip").versions["rknn-toolkit2"]
    assert [worker["tools"]["rknn-toolkit2"] for worker in target["workers"]] == [version]


def test_auto_passes_over_int8_where_the_gate_fails_it_and_ends_with_more_bits(service: Service) -> None:
    parameters = {"chip": "rk3588", "precision": "auto", "calibration": "models/set", "quantized_algorithm":
                  "kl_divergence", "verify": {"min_cosine": 0.98, "samples": 2}}
    task = finish(service, toys.cancelling().SerializeToString(), parameters, pictures(12, 1, 3, 16, 16))
    assert task["status"] == "completed", task["error"]
    rows = task["result"]["attempts"]
    assert [(row["name"], row["status"], row["code"]) for row in rows] == [
        ("int8", "failed", "accuracy_too_low"), ("int8-hybrid", "failed", "accuracy_too_low"),
        ("int16", "passed", None)]
    assert rows[0]["accuracy"]["cosine"] < 0.95 < 0.98 < rows[-1]["accuracy"]["cosine"]
    assert [row["size_bytes"] > 1000 and row["seconds"] > 0.1 for row in rows] == [True] * 3
    report = json.loads(download(service, task["result"]["report_path"]))
    assert report["precision"] == "int16" and report["parameters"]["quantized_algorithm"] == "kl_divergence"
    assert [row["name"] for row in report["attempts"]] == ["int8", "int8-hybrid", "int16"]
