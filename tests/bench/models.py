"""The models that are converted: three of PP-OCR, with one dynamic input `x` [N, 3, H, W] each."""
from __future__ import annotations

from typing import Any

DETECTOR, RECOGNISER, CLASSIFIER = "det", "rec", "cls"  # as infra.models names them
INPUT = "x"

DETECTOR_SIZES = ((320, 320), (320, 480), (480, 320), (480, 480), (320, 640), (640, 320), (480, 640), (640, 480))
RECOGNISER_WIDTHS = (160, 192, 224, 256, 288, 320, 352)
CLASSIFIER_WIDTHS = (128, 160, 192, 224, 256)


def conversions() -> list[tuple[str, list[int]]]:
    """Twenty different ones, (model, shape), the models in turn."""
    shapes = {DETECTOR: [[1, 3, height, width] for height, width in DETECTOR_SIZES],
              RECOGNISER: [[1, 3, 48, width] for width in RECOGNISER_WIDTHS],
              CLASSIFIER: [[1, 3, 48, width] for width in CLASSIFIER_WIDTHS]}
    longest = max(map(len, shapes.values()))
    return [(model, of_model[turn]) for turn in range(longest) for model, of_model in shapes.items()
            if turn < len(of_model)]


def object_path(model: str) -> str:
    return f"models/{model}.onnx"


def request_for(model: str, shape: list[int]) -> dict[str, Any]:
    """The body of POST /tasks/create."""
    return {"task_type": "onnx_to_openvino", "platform": "intel", "input_path": object_path(model),
            "parameters": {"input_shape": f"{INPUT}:{','.join(map(str, shape))}"}}
