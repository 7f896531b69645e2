"""The toolchain itself: what it does before any stage, and what its compiler takes for each chip."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from shared.platforms.qualcomm_chips import CHIPS
from tests import models
from tests.fixtures.toolhosts import installed
from worker.platforms.qualcomm import chips
from worker.platforms.qualcomm.explain import explain, unsupported_nodes
from worker.toolchains import ROOT

WATCHED = """
import os, sys
sys.path.insert(0, sys.argv[1])
events = []
sys.addaudithook(lambda event, args: events.append(event) if event in (
    "socket.connect", "socket.getaddrinfo", "os.fork", "subprocess.Popen") else None)
import worker.platforms.qualcomm.preload
threads = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
open_files = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd not in ("0", "1", "2")
              and os.path.exists(f"/proc/self/fd/{fd}")]
sys.exit(0 if len(threads) == 1 and not events and not [name for name in open_files if "socket" in name]
         else f"{threads} {events} {open_files}")
"""

# Compiles a model for each chip, each in a fork of its own as stages are.
EVERY_CHIP = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import worker.platforms.qualcomm.preload
from worker.platforms.qualcomm.artefact import Artefact
from worker.platforms.qualcomm.chips import CHIPS
from worker.platforms.qualcomm.toolkit import open_session
taken = {}
for chip in CHIPS:
    context = chip + "_ctx.onnx"
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            open_session(chip, False, sys.argv[2], 1, session={"ep.context_enable": 1, "ep.context_file_path": context})
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if os.path.exists(context):
        artefact = Artefact(context)
        artefact.check()
        taken[chip] = artefact.soc_model()
print(json.dumps(taken), flush=True)
"""


def run(script: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    home = folder / "home"
    home.mkdir()
    return subprocess.run([installed("qualcomm").interpreter, "-I", "-c", script, ROOT, *map(str, arguments)],
                          cwd=folder, timeout=240, env={"HOME": str(home)}, capture_output=True, text=True, check=False)


def test_what_is_loaded_before_the_fork_starts_no_thread_calls_nobody_and_writes_nothing(tmp_path: Path) -> None:
    """ONNX Runtime by itself does all three: its telemetry."""
    done = run(WATCHED, tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home").rglob("*")) == []


def test_every_chip_that_is_said_to_takes_half_precision_and_no_other(tmp_path: Path) -> None:
    model = models.convolution()
    onnx.save(model, tmp_path / "model.onnx")
    done = run(EVERY_CHIP, tmp_path, "model.onnx")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0]) == {
        chip: chips.CHIPS[chip][0] for chip, facts in CHIPS.items() if facts.fp16}


def test_every_chip_takes_a_quantized_model(tmp_path: Path) -> None:
    tensors = [models.constant("scale", 0.02, np.float32), models.constant("zero", 0, np.uint8),
               models.constant("wq", np.full((4, 3, 1, 1), 7), np.uint8)]
    nodes = [("QuantizeLinear", ["x", "scale", "zero"], "xq"), ("DequantizeLinear", ["xq", "scale", "zero"], "xd"),
             ("DequantizeLinear", ["wq", "scale", "zero"], "w"), ("Conv", ["xd", "w"], "c"),
             ("QuantizeLinear", ["c", "scale", "zero"], "cq"), ("DequantizeLinear", ["cq", "scale", "zero"], "y")]
    model = models.model([onnx.helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
                         [models.value("x", [1, 3, 16, 16])], [models.value("y", [1, 4, 16, 16])], tensors)
    onnx.save(model, tmp_path / "model.onnx")
    done = run(EVERY_CHIP, tmp_path, "model.onnx")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0]) == {chip: soc_model for chip, (soc_model, _) in chips.CHIPS.items()}


# --- its words --------------------------------------------------------------------------------------------------------

LOG = ("\x1b[1;31m2026 [E:onnxruntime:, qnn.cc:1 GetCapabilityImpl] Unsupported nodes in QNN EP: "
       "{ name: a, type: Relu }{ name: b_token_2, type: Conv }, \x1b[m\n"
       "2026 [E:onnxruntime:, qnn.cc:1 GetCapabilityImpl] Unsupported nodes in QNN EP: { name: b_token_2_token_9, "
       "type: Conv }, \n{ name: not, type: Meant }\n")


def test_refused_nodes_are_read_from_the_log_once_each_under_the_models_own_names() -> None:
    assert unsupported_nodes(LOG) == [("a", "Relu"), ("b", "Conv")]


def test_a_convolution_that_is_left_over_is_named_too() -> None:
    assert unsupported_nodes("Node 'c_token_3' OpType:Conv with domain:com.ms.internal.nhwc was inserted using the "
                             "NHWC format") == [("c", "Conv")]


@pytest.mark.parametrize(("log", "code", "vendor_code"), [
    (LOG, "unsupported_operator", None),
    (LOG + "Failed to create context. Error: QNN_COMMON_ERROR_MEM_ALLOC: x", "compile_failed",
     "QNN_COMMON_ERROR_MEM_ALLOC"),
    ("[E:x] something else", "compile_failed", None)])
def test_the_compilers_own_error_code_comes_before_the_nodes_that_it_left(
        tmp_path: Path, log: str, code: str, vendor_code: str | None) -> None:
    onnx.save(models.unary("Relu"), tmp_path / "model.onnx")
    error = explain("it failed", log, tmp_path / "model.onnx")
    assert (error.code, error.vendor_code) == (code, vendor_code)
    assert error.hint and "\x1b" not in error.message
