"""What a task's stages read: its parameters in their normal form, with what the worker adds."""
from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from shared.documents import Task
from shared.outputs import output_stem
from shared.platforms.shapes import parse_input_shape


def stage_parameters(task: Task) -> dict[str, Any]:
    """The parameters from which each stage gets those that it declares."""
    parameters = {**task.parameters, "input_path": task.input_path,
                  "output_name": PurePosixPath(output_stem(task)).name}
    if "input_shape" in parameters:
        parameters["input_shape"] = parse_input_shape(parameters["input_shape"])
    return parameters
