"""OpenVINO in INT8 through a real service and worker: calibrated, mixed, baked in, and refused by the gate."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.calibration import npy, pictures, zipped
from tests.fixtures.services import Service
from tests.fixtures.toolhosts import installed
from tests.models import cancelling
from worker.platforms.intel.toolkit import ov

# With the preprocessing that the networks were trained with, and what a camera delivers: bytes, channels last, BGR.
CAMERA = {"layout": "nhwc", "input_type": "u8", "reverse_channels": True}
DETECTOR = {"input_shape": "1,3,320,320", "mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
CLASSIFIER = {"input_shape": "1,3,48,192", "mean": [127.5] * 3, "std": [127.5] * 3}
SIZES = {"det": (320, 320), "cls": (48, 192)}
LEAST_COSINE = 0.95


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker that serves OpenVINO alone."""
    installed("intel")
    service = Service(tmp_path_factory.mktemp("service"), {
        "MODEL_CONVERT_PLATFORMS": "intel", "MODEL_CONVERT_PREFLIGHT": "false"})  # the stages' own refusals
    try:
        service.wait(service.ready)
        service.start_worker()
        service.wait_for_workers()
        yield service
    finally:
        service.stop()


def put(service: Service, path: str, data: bytes) -> str:
    source = service.data_dir / "upload"
    source.write_bytes(data)
    service.files().upload(source, path)
    return path


def get(service: Service, path: str) -> bytes:
    target = service.data_dir / "download"
    service.files().download(path, target, max_bytes=1 << 30)
    return target.read_bytes()


def start(service: Service, model: Path, calibration: bytes, output: str, **parameters: Any) -> str:
    put(service, f"models/{output}.onnx", model.read_bytes())
    put(service, f"models/{output}.zip", calibration)
    return service.convert(f"models/{output}.onnx", output_path=f"results/{output}.xml", parameters={
        "precision": "int8", "calibration": f"models/{output}.zip", "verify": {"min_cosine": LEAST_COSINE},
        **parameters})


@pytest.mark.parametrize(("name", "parameters"), [("det", DETECTOR), ("cls", CLASSIFIER)])
def test_a_real_network_becomes_int8_within_its_bound(service, models, name, parameters):
    calibration = zipped(pictures(20, 1, 3, *SIZES[name], scale=255))
    task = service.finish([start(service, models[name], calibration, name, **parameters, **CAMERA)])[0]
    assert task["status"] == "completed", task["error"]
    assert [stage["name"] for stage in task["stages"]] == [
        "fetch", "inspect", "optimize", "calibration_files", "calibration", "reference", "prepare", "quantize",
        "compile", "verify", "publish"]
    accuracy = task["result"]["accuracy"]
    assert accuracy["passed"] is True and accuracy["min_cosine"] == LEAST_COSINE
    assert min(entry["cosine"] for entry in accuracy["outputs"]) >= LEAST_COSINE
    assert task["result"]["toolchain"] == installed("intel").versions

    folder = service.data_dir / name
    folder.mkdir()
    for suffix in ("xml", "bin"):
        (folder / f"model.{suffix}").write_bytes(get(service, f"results/{name}.{suffix}"))
    compiled = ov.Core().compile_model(folder / "model.xml", "CPU")
    image = np.random.default_rng(1).integers(0, 256, (1, *SIZES[name], 3)).astype(np.uint8)
    assert np.isfinite(compiled(image)[0]).all()
    assert (folder / "model.bin").stat().st_size < 0.45 * models[name].stat().st_size

    report = json.loads(get(service, task["result"]["report_path"]))
    counted = report["details"]["operators"]
    assert counted["int8"]["Convolution"] > 30 and counted["float"].get("Convolution", 0) == 0
    assert (report["precision"], report["inputs"][0]["dtype"]) == ("int8", "u8")
    assert any(command.startswith("model = nncf.quantize(") for command in report["commands"])


def test_mixed_precision_by_accuracy_control_comes_closer(service, models):
    calibration = zipped(pictures(20, 1, 3, *SIZES["cls"], scale=255))
    wanted = {"cls-int8": {}, "cls-mixed": {"quantization": {"accuracy_control": {"max_drop": 0.004}}}}
    tasks = service.finish([start(service, models["cls"], calibration, name, **CLASSIFIER, **parameters)
                            for name, parameters in wanted.items()], 240)
    assert [task["status"] for task in tasks] == ["completed", "completed"], [task["error"] for task in tasks]
    plain, mixed = (task["result"]["accuracy"]["outputs"][0]["cosine"] for task in tasks)
    assert plain < 0.9959 < mixed
    report = json.loads(get(service, tasks[1]["result"]["report_path"]))
    assert report["details"]["in_floating_point"] and report["details"]["operators"]["float"]


def test_another_layout_takes_the_quantized_model_from_the_cache(service, models):
    calibration = zipped(pictures(10, 1, 3, *SIZES["cls"], scale=255))
    stages = []
    for layout in ("nchw", "nhwc"):
        task_id = start(service, models["cls"], calibration, "cls-layout", **CLASSIFIER, layout=layout)
        task = service.finish([task_id])[0]
        assert task["status"] == "completed", task["error"]
        stages.append({stage["name"]: stage["cached"] for stage in task["stages"]})
    assert stages[1]["quantize"] is True and stages[1]["compile"] is False


def test_one_constant_sample_is_refused_and_may_be_accepted_with_what_comes_of_it(service, models):
    constant = zipped({"one.npy": npy(np.ones((1, 3, 320, 320), np.float32))})
    parameters = {"input_shape": "1,3,320,320"}
    task = service.finish([start(service, models["det"], constant, "collapsed", **parameters)])[0]
    assert (task["error"]["code"], task["error"]["stage"]) == ("calibration_invalid", "calibration")
    assert "of one colour" in task["error"]["message"] and "accept_accuracy" in task["error"]["hint"]
    assert service.files().stat("results/collapsed.xml") is None
    task = service.finish([start(service, models["det"], constant, "collapsed", **parameters, accept_accuracy=True)])[0]
    assert task["status"] == "completed", task["error"]
    accuracy = task["result"]["accuracy"]
    assert (accuracy["passed"], accuracy["accepted"]) == (False, True)
    report = json.loads(get(service, task["result"]["report_path"]))
    assert report["parameters"]["accept_accuracy"] is True
    assert any("calibration" in warning for warning in report["warnings"])


def test_auto_passes_over_int8_where_the_gate_fails_it_and_ends_with_mixed_precision(service):
    model = service.data_dir / "cancelling.onnx"
    model.write_bytes(cancelling().SerializeToString())
    task_id = start(service, model, zipped(pictures(12, 1, 3, 16, 16)), "auto", precision="auto",
                    verify={"min_cosine": 0.98, "samples": 2})
    task = service.finish([task_id])[0]
    assert task["status"] == "completed", task["error"]
    rows = task["result"]["attempts"]
    assert [(row["name"], row["status"], row["code"]) for row in rows] == [
        ("int8", "failed", "accuracy_too_low"), ("int8-minmax", "failed", "accuracy_too_low"),
        ("int8-mixed", "passed", None)]
    assert rows[0]["accuracy"]["cosine"] < 0.95 < 0.98 < rows[2]["accuracy"]["cosine"]
    assert task["result"]["accuracy"]["passed"] and task["parameters"]["precision"] == "auto"
    manifest, report = (json.loads(get(service, task["result"][name])) for name in ("manifest_path", "report_path"))
    assert manifest["parameters"]["quantization"]["accuracy_control"]["max_drop"] == 0.005
    assert report["precision"] == "int8" and report["details"]["in_floating_point"]
    assert [stage["name"] for stage in task["stages"] if stage["status"] == "failed"] == [
        "verify-int8", "verify-int8-minmax"]
