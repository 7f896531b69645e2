"""The static ONNX model as OpenVINO has it, and its refusals in our words."""
import os
import re

from shared.rules.models import MODEL as MODEL_FILE
from worker.platforms.intel import reasons
from worker.platforms.intel.prepare import folder_of
from worker.stages.calls import File, Name
from worker.stages.messages import raise_if_out_of_memory, tidy

OPENVINO, MODEL = Name("openvino"), Name("model")  # as the scripts of the stages name them


def convert(script, job):
    """Let `model` be the model that is prepared for OpenVINO.

    Raises:
        StageError: `unsupported_operator`, `compile_failed`.
    """
    try:
        script.let("model", OPENVINO.convert_model(File(os.path.join(folder_of(job), MODEL_FILE))))
    except Exception as error:  # the toolchain's own errors: whatever it raises is its verdict on the model
        raise_if_out_of_memory(error)
        raise explain(error, job) from error


def explain(error, job):
    """OpenVINO names operators as `Det-13`, or `com.microsoft.CDist` outside the standard."""
    found = re.search(r"No conversion rule found for operations: (.+)", str(error))
    if found:
        names = sorted({re.sub(r"-\d+$", "", name.strip()) for name in found.group(1).split(",")})
        return reasons.NO_CONVERSION(names=", ".join(names))
    text = re.sub(r"Check '.*' failed at \S+:\s*", "", tidy(error, job, 4000))
    return reasons.NOT_CONVERTED(said=text[:600])
