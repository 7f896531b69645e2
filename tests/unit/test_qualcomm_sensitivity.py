"""Which activations get 16 bits: those that cost accuracy, and no more than are needed."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import calibrate

from tests import models
from worker.platforms.qualcomm import sensitivity
from worker.platforms.qualcomm.ranges import bounds, find_limits, measure, with_room

SHAPE = [1, 4, 8, 8]


def quantized(ranges: dict[str, float]) -> onnx.ModelProto:
    """x and its square root, each rounded to 16 bits of 0 to the range given."""
    nodes, tensors, source = [], [], "x"
    for name, highest in ranges.items():
        nodes += [helper.make_node("QuantizeLinear", [source, f"{name}_scale", f"{name}_zero"], [f"{name}_q"]),
                  helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_scale", f"{name}_zero"], [f"{name}_dq"]),
                  helper.make_node("Sqrt", [f"{name}_dq"], [f"{name}_root"])]
        tensors += [models.constant(f"{name}_scale", highest / 65535, np.float32),
                    models.constant(f"{name}_zero", 0, np.uint16)]
        source = f"{name}_root"
    nodes[-1].output[0] = "y"
    return models.model(nodes, [models.value("x", SHAPE)], [models.value("y", SHAPE)], tensors, opset=21, ir=10)


def data(**highest: float) -> calibrate.TensorsData:
    return calibrate.TensorsData(calibrate.CalibrationMethod.MinMax, {
        name: calibrate.TensorData(lowest=np.float32(0), highest=np.float32(high)) for name, high in highest.items()})


def find(folder: Path, **ranges: float) -> list[str]:
    generator = np.random.default_rng(1)
    feeds = [{"x": generator.random(SHAPE, np.float32)} for _ in range(2)]
    return sensitivity.find(quantized(ranges), str(folder / "m.onnx"), data(**ranges), feeds, 1,
                            lambda done, total: None)


def test_only_what_loses_most_in_8_bits_gets_16(tmp_path: Path) -> None:
    assert find(tmp_path, a=1.0, wide=500.0, c=1.0) == ["wide"]


def test_where_8_bits_do_there_are_no_others(tmp_path: Path) -> None:
    assert find(tmp_path, a=1.0, b=1.0) == []


def test_ranges_reach_as_far_as_the_samples_vary_and_16_bits_have_room(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Clip", ["r", "", "most"], ["y"])]
    model = models.model(nodes, [models.value("x", SHAPE)], [models.value("y", SHAPE)],
                         [models.constant("most", 2.5, np.float32)])
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    limits = find_limits(model)
    highs = [1.0, 1.0, 2.0]
    feeds = [{"x": np.full(SHAPE, high, np.float32)} for high in highs]
    found = measure(str(path), ["Relu", "Clip"], feeds, limits, str(tmp_path / "a.onnx"))
    assert bounds(found["r"])[0] == 0.0, "no room below zero for what is never negative"
    assert np.isclose(bounds(found["r"])[1], np.mean(highs) + 3 * np.std(highs))
    assert bounds(found["y"]) == (0.0, 2.5), "a Clip that the quantizer drops is in the range alone"
    steady = measure(str(path), ["Relu"], feeds[:2], limits, str(tmp_path / "b.onnx"))
    assert bounds(steady["r"]) == (0.0, 1.0) and bounds(with_room(steady, limits)["r"]) == (0.0, 2.0)
    assert bounds(with_room(found, limits)["y"]) == (0.0, 2.5)
