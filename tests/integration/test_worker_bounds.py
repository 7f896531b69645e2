"""A stage's own bounds on what it computes, in the toolhost's real children: they end with a reason."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from shared.errors import ConversionFailed
from tests import models
from tests.integration.worker_kit import COVERAGE, LIMITS, make_task
from worker.control import TaskControl
from worker.process import ToolHost, clean_environment
from worker.watch import StageRun


@pytest.fixture(scope="module")
def host() -> Iterator[ToolHost]:
    host = ToolHost("toy", Path(sys.executable), ("json",), clean_environment(COVERAGE))
    yield host
    host.close()


def run(host: ToolHost, entry: str, folder: Path, job: dict[str, Any]) -> StageRun:
    return host.run(f"tests.integration.toy_stages:{entry}", folder, job, LIMITS, TaskControl(make_task()))


@pytest.mark.parametrize(("entry", "code", "message"), [
    ("burn_beyond_its_bound", "model_too_complex", "too complex"),
    ("burn_within_a_wider_bound", "timeout", "CPU time")])
def test_the_bound_that_comes_first_is_told(host: ToolHost, tmp_path: Path, entry: str, code: str,
                                            message: str) -> None:
    with pytest.raises(ConversionFailed) as caught:
        run(host, entry, tmp_path, {})
    assert caught.value.code == code and message in str(caught.value)


def test_a_bound_ends_with_its_block(host: ToolHost, tmp_path: Path) -> None:
    assert run(host, "burn_after_its_bound", tmp_path, {}).facts == {}
    assert run(host, "allocate_beyond_its_bound", tmp_path, {}).facts == {"got": 0, "later": 128 << 20}


def refusal_of_optimize(host: ToolHost, entry: str, folder: Path, model: onnx.ModelProto) -> ConversionFailed:
    fetched, run_folder = folder / "fetch", folder / "run"
    fetched.mkdir()
    (fetched / "model.onnx").write_bytes(model.SerializeToString())
    facts = {"inputs": [{"name": "x", "dtype": "float", "shape": [1, 4]}], "external_data": [],
             "size_bytes": model.ByteSize(), "nodes": len(model.graph.node)}
    (run_folder / "out").mkdir(parents=True)
    job = {"output_dir": str(run_folder / "out"), "threads": 1,
           "parameters": {"input_shape": {}, "auto_input_shape": True, "fixed_inputs": None, "inputs": None,
                          "outputs": None, "simplify": True},
           "inputs": {"fetch": {"dir": str(fetched), "facts": {}}, "inspect": {"dir": str(fetched), "facts": facts}}}
    with pytest.raises(ConversionFailed) as caught:
        run(host, entry, run_folder, job)
    return caught.value


def test_constants_that_take_hours_to_compute_are_refused(host: ToolHost, tmp_path: Path) -> None:
    """ONNX Runtime computes them while it loads the model: forty convolutions of 2^36 multiplications each."""
    filled = {name: helper.make_node("ConstantOfShape", [f"{name}_shape"], [name], value=helper.make_tensor(
        "one", TensorProto.FLOAT, [1], [1.0])) for name in ("c0", "w")}
    nodes = [*filled.values(), *(helper.make_node("Conv", [f"c{n}", "w"], [f"c{n + 1}"], pads=[255] * 4)
                                 for n in range(40)),
             helper.make_node("ReduceSum", ["c40"], ["r"], keepdims=0), helper.make_node("Add", ["x", "r"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, 4])], [models.value("y", [1, 4])],
                         [models.constant("c0_shape", [1, 1, 512, 512]), models.constant("w_shape", [1, 1, 511, 511])])
    error = refusal_of_optimize(host, "optimize_within_a_second", tmp_path, model)
    assert error.code == "model_too_complex" and "s of computing" in str(error)


def test_a_shape_that_takes_all_memory_is_refused(host: ToolHost, tmp_path: Path) -> None:
    """ONNX Runtime infers values of shapes: this one is appended to itself forty times."""
    nodes = [helper.make_node("Shape", ["x"], ["s0"]),
             *(helper.make_node("Concat", [f"s{n}", f"s{n}"], [f"s{n + 1}"], axis=0) for n in range(40)),
             helper.make_node("ReduceSum", ["s40"], ["r"], keepdims=0), helper.make_node("Cast", ["r"], ["f"], to=1),
             helper.make_node("Add", ["x", "f"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, 4])], [models.value("y", [1, 4])])
    error = refusal_of_optimize(host, "optimize_in_little_memory", tmp_path, model)
    assert error.code == "model_too_complex" and "of memory" in str(error)
