"""How close real networks come on each real target: `python -m tests.accuracy [--models det vad] [--targets intel]`.

Each network is converted through the embedded profile, in each precision of each target whose toolchain is there. The
table that is printed stands in the README: the least cosine of the gate, or the code with which the task was refused or
failed.
"""
from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from infra.client import ApiError
from infra.models import WHEELS, fetch_models
from infra.toolchains import environments, install
from shared.settings import get_settings
from tests.fixtures.calibration import npy, pictures
from tests.fixtures.services import Service

SAMPLES = 16
TARGETS: dict[str, tuple[str, dict[str, Any], Sequence[str]]] = {
    "intel": ("onnx_to_openvino", {}, ("fp32", "fp16", "int8")),
    "rockchip": ("onnx_to_rknn", {"chip": "rk3588"}, ("fp16", "int8")),
    "qualcomm": ("onnx_to_qnn", {"chip": "SM8650"}, ("fp16", "int16", "int8")),
}
# Small, since the simulators of the artefacts are slow.
PARAMETERS: dict[str, dict[str, Any]] = {
    "det": {"input_shape": "x:1,3,96,128"}, "rec": {"input_shape": "x:1,3,48,96"},
    "cls": {"input_shape": "x:1,3,48,192"},
    "vad": {"input_shape": "input:1,512;state:2,1,128", "fixed_inputs": {"sr": 16000}},
    "magika": {"input_shape": "bytes:1,2048"},
}


def calibration_set(model: str) -> dict[str, bytes]:
    """`{name: .npy}`; with several inputs a folder for each."""
    random = np.random.default_rng(1)
    if model == "vad":
        time_s = np.arange(512) / 16000
        tones = [np.sin(2 * np.pi * random.uniform(80, 3000) * time_s) * random.uniform(0.02, 0.8)
                 + random.normal(0, 0.02, 512) for _ in range(SAMPLES)]
        return {f"input/{number:02d}.npy": npy(tone[None].astype(np.float32)) for number, tone in enumerate(tones)} | {
            f"state/{number:02d}.npy": npy(random.normal(0, 0.3, (2, 1, 128)).astype(np.float32))
            for number in range(SAMPLES)}
    if model == "magika":  # a file's bytes; 256 fills what a short file leaves
        return {f"{number:02d}.npy": npy(random.integers(0, 257, (1, 2048)).astype(np.int32))
                for number in range(SAMPLES)}
    shape = [int(size) for size in PARAMETERS[model]["input_shape"].partition(":")[2].split(",")]
    return pictures(SAMPLES, *shape)


def prepare(service: Service, models: Sequence[str]) -> None:
    files, scratch = service.files(), service.data_dir / "sample"
    for model, path in fetch_models(models).items():
        files.upload(path, f"models/{model}.onnx")
        for name, content in calibration_set(model).items():
            scratch.write_bytes(content)
            files.upload(scratch, f"models/{model}-calibration/{name}")


def convert(service: Service, model: str, target: str, precision: str) -> str:
    """The table's row."""
    task_type, parameters, _ = TARGETS[target]
    if precision.startswith("int"):
        parameters = parameters | {"calibration": f"models/{model}-calibration"}
    try:
        task_id = service.client.create_task(
            input_path=f"models/{model}.onnx", task_type=task_type, platform=target,
            parameters=parameters | PARAMETERS[model] | {"precision": precision})
    except ApiError as error:
        return f"| {model} | {target} | {precision} | refused | | | {error} |"
    (task,) = service.finish([task_id], 1800)
    head = f"| {model} | {target} | {precision} |"
    if task["error"]:
        return f"{head} {task['error']['code']} | | | {task['error']['message']} |"
    outputs = task["result"]["accuracy"]["outputs"]
    cosine = min(output["cosine"] for output in outputs if output.get("cosine") is not None)
    size_mb = sum((service.data_dir / "buckets" / path).stat().st_size for path in task["result"]["files"]) / 1e6
    return f"{head} completed | {cosine:.5f} | {size_mb:.1f} MB | |"


def main(arguments: Sequence[str]) -> int:
    cli = argparse.ArgumentParser(prog="python -m tests.accuracy", description=__doc__)
    names = [name for members in WHEELS.values() for name in members]
    cli.add_argument("--models", nargs="+", choices=names, default=names)
    cli.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    options = cli.parse_args(arguments)
    for environment in environments().values():
        if environment.bundled:
            install(environment, get_settings().toolchains_dir)
    with tempfile.TemporaryDirectory(prefix="accuracy-", ignore_cleanup_errors=True) as folder:
        service = Service(Path(folder), {})
        try:
            service.wait(service.ready, 120)
            service.start_worker()
            service.wait_for_workers()
            prepare(service, options.models)
            begun = time.monotonic()
            print("| model | target | precision | outcome | least cosine | size | message |")
            print("|---" * 7 + "|")
            for model in options.models:
                for target in options.targets:
                    for precision in TARGETS[target][2]:
                        print(convert(service, model, target, precision), flush=True)
            print(f"{time.monotonic() - begun:.0f} s")
        finally:
            service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
