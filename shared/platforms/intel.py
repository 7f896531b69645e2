"""Intel NPU, GPU and CPU through OpenVINO IR: `.xml` with its weights in `.bin` beside it."""
from __future__ import annotations

from shared.platforms.base import CommonParameters, Platform


class IntelParameters(CommonParameters):
    """OpenVINO IR; FP16 compresses the weights, as OpenVINO itself does by default."""


PLATFORM = Platform(
    name="intel",
    title="Intel NPU (OpenVINO IR)",
    task_types=("onnx_to_openvino",),
    parameters=IntelParameters,
    artefact_suffix=".xml",
    example={"input_shape": "1,3,480,480", "precision": "fp16"},
    also=(".bin",),
)
