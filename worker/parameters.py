"""What a task's stages read: its parameters in their normal form, with what the worker adds.

A version of before or after may have made the task. A parameter that it did not know has its default. One that this
version does not know is refused: to pass over it would make another artefact than the client asked for.
"""
from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from shared.documents import Task
from shared.errors import ConversionFailed
from shared.outputs import output_stem
from shared.platforms import get_platforms
from shared.platforms.base import get_parameter, object_parameters
from shared.platforms.shapes import parse_input_shape
from shared.validation_messages import printable
from worker import reasons
from worker.plan import Plan


def in_this_version(task: Task, plan: Plan) -> Task:
    """The task with all parameters that this version knows.

    Raises:
        ConversionFailed: `version_mismatch`: it has one that neither the target nor a stage declares.
    """
    model = get_platforms()[task.platform].parameters
    declared = {name for stage in plan.stages for name in stage.parameters}
    if unknown := sorted(task.parameters.keys() - model.model_fields.keys() - declared):
        raise ConversionFailed(reasons.PARAMETERS_OF_ANOTHER_VERSION(names=printable(", ".join(unknown), 200)))
    defaults = model.model_construct().model_dump(mode="json")
    return task.model_copy(update={"parameters": defaults | task.parameters})


def stage_parameters(task: Task) -> dict[str, Any]:
    """The parameters from which each stage gets those that it declares."""
    parameters = {**task.parameters, "input_path": task.input_path,
                  "output_name": PurePosixPath(output_stem(task)).name}
    parameters |= {name: get_parameter(task.parameters, name)
                   for name in object_parameters(get_platforms()[task.platform]) if "." in name}
    parameters["simplify"] = parameters.get("simplify") is not False  # left out is true, and one key with it
    if "input_shape" in parameters:
        parameters["input_shape"] = parse_input_shape(parameters["input_shape"])
    return parameters
