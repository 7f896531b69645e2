"""What `prepare` writes instead of forms that QNN's compiler does not take, or makes nonsense of, comes out right."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests import models
from tests.fixtures.toolhosts import tool_host
from tests.toolchains.qualcomm.test_stages import convert, pictures
from worker.process import ToolHost


@pytest.fixture(scope="module")
def host() -> Iterator[ToolHost]:
    with tool_host("qualcomm") as host:
        yield host


@pytest.mark.parametrize(("equation", "other"), [("bhid,bhjd->bhij", [1, 2, 6, 8]), ("bhid,bhdj->bihj", [1, 2, 8, 5])])
def test_the_einsums_of_attention_become_products_that_the_npu_takes(host: ToolHost, tmp_path: Path, equation: str,
                                                                     other: list[int]) -> None:
    model = models.model([helper.make_node("Einsum", ["x", "k"], ["y"], equation=equation)],
                         [models.value("x", [1, 2, 4, 8]), models.value("k", other)], [models.value("y", None)])
    facts = convert(host, tmp_path, model).run("verify")
    assert facts["passed"] and facts["outputs"][0]["cosine"] > 0.9999


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}], ids=["padded", "ceiled", "same"])
def test_an_average_beyond_the_edge_comes_out_right(host: ToolHost, tmp_path: Path, attributes: dict[str, Any],
                                                    precision: str) -> None:
    model = models.model([helper.make_node("AveragePool", ["x"], ["y"], **attributes)],
                         [models.value("x", [1, 8, 14, 14])], [models.value("y", None)])
    files = pictures([1, 8, 14, 14]) if precision == "int8" else None
    facts = convert(host, tmp_path, model, precision=precision, calibration_files=files).run("verify")
    assert facts["passed"] and facts["outputs"][0]["cosine"] > 0.999


@pytest.mark.parametrize(("attributes", "kind", "wanted"), [
    ({"mode": "linear", "antialias": 1}, "sizes", [1, 3, 5, 6]),
    ({"mode": "cubic", "exclude_outside": 1}, "scales", [1, 1, 0.5, 0.5]),
    ({"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}, "sizes", [8, 30])],
    ids=["antialias", "exclude_outside", "keep_aspect_ratio_policy"])
def test_a_resize_comes_out_right_whatever_the_compiler_does_not_look_at(
        host: ToolHost, tmp_path: Path, attributes: dict[str, Any], kind: str, wanted: list[float]) -> None:
    inputs = ["x", "", kind] if kind == "scales" else ["x", "", "", kind]
    model = models.model([helper.make_node("Resize", inputs, ["y"], **attributes)],
                         [models.value("x", [1, 3, 16, 20])], [models.value("y", None)],
                         [models.constant(kind, wanted, np.float32 if kind == "scales" else np.int64)], opset=19)
    facts = convert(host, tmp_path, model).run("verify")
    assert facts["passed"] and facts["outputs"][0]["cosine"] > 0.99999 and facts["outputs"][0]["max_rel_error"] < 0.01
