"""Real conversions to Snapdragons through a real worker: ONNX Runtime's QNN compiler and its simulator."""
from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from infra.client import ApiError
from tests import models as tiny
from tests.fixtures.services import Service
from tests.fixtures.toolhosts import installed
from worker.stages.samples import make_inputs

MakeService = Callable[..., Service]
CLASSIFIER, DETECTOR = [1, 3, 48, 192], [1, 3, 64, 64]

# Loads what was published, as its user would, and tells what it is and what it answers.
LOAD = """
import sys
sys.path.insert(0, sys.argv[1])
from worker.platforms.qualcomm.toolkit import open_session
import numpy as np
session, _ = open_session("SM8650", False, sys.argv[2], 1)
(value,) = session.get_inputs()
print([value.name, value.shape, session.run(None, {value.name: np.zeros(value.shape, np.float32)})[0].shape[0]])
"""


@pytest.fixture
def service(make_service: MakeService) -> Service:
    installed("qualcomm")
    return make_service(platforms="qualcomm")


def convert(service: Service, model: Path | bytes, **fields: Any) -> dict[str, Any]:
    if service.files().stat("models/model.onnx") is None:  # another upload would be another version of it
        path = service.data_dir / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.read_bytes())
        service.files().upload(path, "models/model.onnx")
    parameters = {"chip": "SM8650", **fields.pop("parameters", {})}
    task_id = service.client.create_task(task_type="onnx_to_qnn", platform="qualcomm", input_path="models/model.onnx",
                                         parameters=parameters, **fields)
    return service.finish([task_id])[0]


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def calibrate(service: Service, shape: list[int], count: int = 12, **files: bytes) -> str:
    """A set of pictures, and whatever else it is to hold; its prefix."""
    entry = {"name": "x", "dtype": "float", "shape": shape}
    pictures = {f"{seed:03d}.npy": npy(make_inputs([entry], "picture", 100 + seed)["x"]) for seed in range(count)}
    for name, content in {**pictures, **files}.items():
        path = service.data_dir / "sample"
        path.write_bytes(content)
        service.files().upload(path, f"models/calibration/{name}")
    return "models/calibration"


def published(service: Service, path: str) -> Path:
    return service.data_dir / "buckets" / path


def report(service: Service, task: dict[str, Any]) -> dict[str, Any]:
    return json.loads(published(service, task["result"]["report_path"]).read_text())


@pytest.mark.parametrize(("network", "shape"), [("cls", CLASSIFIER), ("det", DETECTOR)])
def test_half_precision(service: Service, models: dict[str, Path], network: str, shape: list[int]) -> None:
    task = convert(service, models[network], output_path="results/net_ctx.onnx",
                   parameters={"chip": "Snapdragon 8 Gen 3", "input_shape": shape})
    assert task["status"] == "completed", task["error"]
    assert task["parameters"]["chip"] == "SM8650"
    assert task["result"]["files"] == ["results/net_ctx.onnx", "results/net_qnn.bin"]
    assert all(output["cosine"] > 0.999 for output in task["result"]["accuracy"]["outputs"])
    (node,) = onnx.load(published(service, "results/net_ctx.onnx")).graph.node
    assert node.op_type == "EPContext"
    told = report(service, task)
    assert told["placement"]["npu"]["Conv2d"] > 20 and told["placement"]["cpu"] == {} and told["on_cpu"] == []
    assert told["details"]["soc_model"] == 57 and told["precision"] == "fp16"
    assert any(command.startswith("ort.InferenceSession(") for command in told["commands"])
    done = subprocess.run([installed("qualcomm").interpreter, "-I", "-c", LOAD, Path(__file__).resolve().parents[3],
                           published(service, "results/net_ctx.onnx")], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[0] == str(["x", shape, 1]), done.stderr


@pytest.mark.parametrize(("network", "shape", "precision", "bound"), [
    ("cls", CLASSIFIER, "int8", 0.999), ("cls", CLASSIFIER, "int16", 0.999), ("det", DETECTOR, "int8", 0.98),
    ("det", DETECTOR, "int16", 0.995)])
def test_integers(service: Service, models: dict[str, Path], network: str, shape: list[int], precision: str,
                  bound: float) -> None:
    task = convert(service, models[network], output_path="results/net_ctx.onnx", parameters={
        "input_shape": shape, "precision": precision, "calibration": calibrate(service, shape),
        "verify": {"min_cosine": bound}})
    assert task["status"] == "completed", task["error"]
    assert task["result"]["accuracy"]["passed"] and task["result"]["accuracy"]["samples"] == 6
    told = report(service, task)
    assert told["precision"] == precision and told["on_cpu"] == []
    assert told["placement"]["npu"]["Quantize"] == 1 or precision == "int8", "INT8 changes between 8 and 16 bits"
    sixteen = told["details"].get("activations_of_16_bits", [])
    assert bool(sixteen) == (precision == "int8"), "the report names the activations of INT8 that have 16 bits"
    assert [stage["name"] for stage in task["stages"]] == [
        "fetch", "inspect", "optimize", "calibration_files", "calibration", "reference", "prepare", "quantize",
        "compile", "verify", "package", "publish"]


def test_one_file_on_request_and_another_name_compiles_nothing_again(
        service: Service, models: dict[str, Path]) -> None:
    parameters = {"input_shape": CLASSIFIER}
    first = convert(service, models["cls"], output_path="results/a_ctx.onnx", parameters=parameters)
    second = convert(service, models["cls"], output_path="results/b_ctx.onnx", parameters={**parameters, "embed": True})
    assert first["status"] == second["status"] == "completed"
    assert second["result"]["files"] == ["results/b_ctx.onnx"]
    assert not published(service, "results/b_qnn.bin").exists()
    assert published(service, "results/a_qnn.bin").read_bytes() in published(service, "results/b_ctx.onnx").read_bytes()
    assert {stage["name"] for stage in second["stages"] if not stage["cached"]} == {"package", "publish"}


def test_an_operator_that_the_npu_lacks_is_refused_at_once_or_by_the_compiler_and_stays_on_the_cpu_where_allowed(
        service: Service) -> None:
    chain = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Det", ["r"], ["d"], "the_determinant"),
             helper.make_node("Relu", ["d"], ["y"])]
    model = tiny.model(chain, [tiny.value("x", [1, 4, 4])], [tiny.value("y", [1])]).SerializeToString()
    with pytest.raises(ApiError, match=r"unsupported_operator.*Det"):
        convert(service, model)
    calibration = calibrate(service, [1, 4, 4], 4)
    task = convert(service, model, parameters={"precision": "int8", "calibration": calibration})
    assert (task["error"]["code"], task["error"]["stage"]) == ("unsupported_operator", "compile")
    assert "the_determinant" in task["error"]["message"]
    assert "Unsupported nodes in QNN EP" in task["error"]["log_tail"]
    allowed = convert(service, model, parameters={"allow_cpu": True})
    assert allowed["status"] == "completed", allowed["error"]
    told = report(service, allowed)
    assert told["on_cpu"] == [{"name": "the_determinant", "type": "Det"}] and told["warnings"]


def test_a_calibration_set_with_a_text_file_in_it_is_refused_before_the_tool_starts(
        service: Service, models: dict[str, Path]) -> None:
    calibration = calibrate(service, CLASSIFIER, **{"note.npy": b"not an array"})
    with pytest.raises(ApiError, match=r"calibration_invalid.*note\.npy"):
        convert(service, models["cls"], parameters={
            "input_shape": CLASSIFIER, "precision": "int8", "calibration": calibration})


def test_a_collapsed_accuracy_fails_and_retries_from_the_gate_when_accepted(
        service: Service, models: dict[str, Path]) -> None:
    beyond = {"mean": [1000.0] * 3, "std": [0.01] * 3}  # what half precision cannot hold
    parameters = {"input_shape": CLASSIFIER, "precision": "fp16", **beyond}
    failed = convert(service, models["cls"], parameters=parameters)
    assert (failed["error"]["code"], failed["error"]["stage"]) == ("accuracy_too_low", "verify")
    assert "cosine" in failed["error"]["message"]
    taken = convert(service, models["cls"], parameters={**parameters, "accept_accuracy": True})
    assert taken["status"] == "completed" and taken["result"]["accuracy"]["accepted"]
    assert {stage["name"] for stage in taken["stages"] if not stage["cached"]} == {"verify", "package", "publish"}


def test_auto_passes_over_int8_where_the_gate_fails_it_and_ends_with_more_bits(service: Service) -> None:
    shape = [1, 3, 16, 16]
    task = convert(service, tiny.cancelling().SerializeToString(), parameters={
        "precision": "auto", "calibration": calibrate(service, shape), "calibrate_method": "Percentile",
        "verify": {"min_cosine": 0.98, "samples": 2}})
    assert task["status"] == "completed", task["error"]
    rows = task["result"]["attempts"]
    assert [(row["name"], row["status"], row["code"]) for row in rows] == [
        ("int8", "failed", "accuracy_too_low"), ("int8-mixed", "passed", None)]
    assert rows[0]["accuracy"]["cosine"] < 0.95 < 0.98 < rows[-1]["accuracy"]["cosine"]
    told = report(service, task)
    assert told["precision"] == "int8" and told["details"]["activations_of_16_bits"]
    assert told["parameters"]["calibrate_method"] == "Percentile"
    (node,) = onnx.load(published(service, task["result"]["path"])).graph.node
    assert node.op_type == "EPContext" and published(service, task["result"]["files"][1]).exists()
