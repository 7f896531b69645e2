"""Models that the toy stages do not look into, but that fetch does."""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@lru_cache
def small_model(value: float = 1.0, rows: int | str = 1) -> bytes:
    weight = numpy_helper.from_array(np.full((2, 2), value, np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, 2])], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def model_with_data_beside_it(folder: Path) -> tuple[bytes, bytes]:
    model = onnx.load_from_string(small_model())
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return (folder / "m.onnx").read_bytes(), (folder / "weights.bin").read_bytes()
