"""Stage: OpenVINO IR from the static ONNX model."""
import os
import re

from worker.stage_api import StageError, report
from worker.stages.messages import raise_if_out_of_memory, tidy

XML, BIN = "model.xml", "model.bin"


def run(job):
    """Writes model.xml and model.bin. Facts: files, precision, inputs and outputs as the artefact itself shows them.

    Raises:
        StageError: `unsupported_operator`, `dynamic_shape`, `compile_failed`.
    """
    from worker.platforms.intel.toolkit import ov

    source = os.path.join(job["inputs"]["optimize"]["dir"], "model.onnx")
    precision = job["parameters"]["precision"]
    target = os.path.join(job["output_dir"], XML)
    try:
        model = ov.convert_model(source)
        report(60, "saving")
        ov.save_model(model, target, compress_to_fp16=precision == "fp16")
    except Exception as error:  # the toolchain's own errors: whatever it raises is its verdict on the model
        raise_if_out_of_memory(error)
        raise _explain(error, job) from error
    return {"files": [XML, BIN], "precision": precision, **_read_back(ov, job)}


def _read_back(ov, job):
    """Inputs and outputs of the artefact on disk; the tool's word that it succeeded is no proof."""
    paths = [os.path.join(job["output_dir"], name) for name in (XML, BIN)]
    if not all(map(os.path.exists, paths)) or not os.path.getsize(paths[0]):
        raise StageError("compile_failed", "OpenVINO reported success but wrote no complete IR",
                         "try again; if it persists, report the model")
    try:
        model = ov.Core().read_model(paths[0])
    except RuntimeError as error:
        raise StageError("compile_failed", "OpenVINO cannot read the IR that it wrote: " + tidy(error, job),
                         "try again; if it persists, report the model") from error
    open_inputs = [port.any_name for port in model.inputs if port.partial_shape.is_dynamic]
    if open_inputs:
        raise StageError("dynamic_shape", "the IR's inputs are still dynamic, which the NPU refuses: "
                         + ", ".join(open_inputs), "send input_shape for them")
    return {kind: [{"name": port.any_name if port.names else "", "dtype": port.element_type.to_string(),
                    "shape": [dim.get_length() if dim.is_static else None for dim in port.partial_shape]}
                   for port in ports] for kind, ports in (("inputs", model.inputs), ("outputs", model.outputs))}


def _explain(error, job):
    """OpenVINO names operators as `Det-13`, or `com.microsoft.CDist` outside the standard."""
    found = re.search(r"No conversion rule found for operations: (.+)", str(error))
    if found:
        names = sorted({re.sub(r"-\d+$", "", name.strip()) for name in found.group(1).split(",")})
        return StageError("unsupported_operator", "OpenVINO has no conversion for: " + ", ".join(names),
                          "replace them by operators that OpenVINO supports, or end the model before them")
    text = re.sub(r"Check '.*' failed at \S+:\s*", "", tidy(error, job, 4000))
    return StageError("compile_failed", "OpenVINO cannot convert the model: " + text[:600],
                      "the message names the node; export the model with other settings, or report it")
