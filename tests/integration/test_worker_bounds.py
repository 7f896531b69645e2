"""A stage's own bounds on what it computes, in the toolhost's real children: they end with a reason."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def test_constants_that_take_hours_to_compute_are_refused(host: ToolHost, tmp_path: Path) -> None:
    """ONNX Runtime computes them while it loads the model: forty convolutions of 2^36 multiplications each."""
    filled = {name: helper.make_node("ConstantOfShape", [f"{name}_shape"], [name], value=helper.make_tensor(
        "one", TensorProto.FLOAT, [1], [1.0])) for name in ("c0", "w")}
    nodes = [*filled.values(), *(helper.make_node("Conv", [f"c{n}", "w"], [f"c{n + 1}"], pads=[255] * 4)
                                 for n in range(40)),
             helper.make_node("ReduceSum", ["c40"], ["r"], keepdims=0), helper.make_node("Add", ["x", "r"], ["y"])]
    model = models.model(nodes, [models.value("x", [1, 4])], [models.value("y", [1, 4])],
                         [models.constant("c0_shape", [1, 1, 512, 512]), models.constant("w_shape", [1, 1, 511, 511])])
    fetched, folder = tmp_path / "fetch", tmp_path / "run"
    fetched.mkdir()
    (fetched / "model.onnx").write_bytes(model.SerializeToString())
    facts = {"inputs": [{"name": "x", "dtype": "float", "shape": [1, 4]}], "external_data": [], "size_bytes": 1000}
    (folder / "out").mkdir(parents=True)
    job = {"output_dir": str(folder / "out"), "threads": 1,
           "parameters": {"input_shape": {}, "auto_input_shape": True},
           "inputs": {"fetch": {"dir": str(fetched), "facts": {}}, "inspect": {"dir": str(fetched), "facts": facts}}}
    with pytest.raises(ConversionFailed) as caught:
        run(host, "optimize_within_a_second", folder, job)
    assert caught.value.code == "model_too_complex"
