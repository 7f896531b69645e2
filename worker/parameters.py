"""What a task's stages read: its parameters in their normal form, with what the worker adds."""
from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from shared.models import Task
from shared.platforms import get_platforms
from shared.platforms.shapes import parse_input_shape


def output_stem(task: Task) -> str:
    """The name of the artefact's files up to their suffixes."""
    return PurePosixPath(task.output_path).name.removesuffix(get_platforms()[task.platform].artefact_suffix)


def stage_parameters(task: Task) -> dict[str, Any]:
    """The parameters from which each stage gets those that it declares."""
    parameters = {**task.parameters, "output_name": output_stem(task)}
    if "input_shape" in parameters:
        parameters["input_shape"] = parse_input_shape(parameters["input_shape"])
    return parameters
