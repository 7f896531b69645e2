"""Stage: OpenVINO IR from the static ONNX model or from its quantized form, with the task's preprocessing baked in."""
import os

from worker.platforms.intel import precisions, quantize, reasons
from worker.platforms.intel.convert import MODEL, OPENVINO, convert, explain
from worker.platforms.intel.interface import bake, read_steps
from worker.stage_api import report
from worker.stages.calls import File, Script
from worker.stages.messages import raise_if_out_of_memory, tidy

XML, BIN = "model.xml", "model.bin"


def run(job):
    """Writes model.xml and model.bin. Facts: files, precision, inputs and outputs as the artefact itself shows them,
    commands.

    Raises:
        StageError: `unsupported_operator`, `dynamic_shape`, `preprocessing_mismatch`, `compile_failed`.
    """
    from worker.platforms.intel.toolkit import ov

    parameters = job["parameters"]
    precision = parameters["precision"]
    to_fp16 = precision == "fp16"  # what is quantized has been compressed before, or not: see quantize
    steps = read_steps(parameters, job["inputs"]["optimize"]["facts"]["inputs"])
    script = Script(openvino=ov)
    _read(script, job)
    report(60, "saving")
    try:
        bake(script, steps)
        script.do(OPENVINO.save_model(MODEL, File(os.path.join(job["output_dir"], XML)), compress_to_fp16=to_fp16))
    except Exception as error:  # the toolchain's own errors: whatever it raises is its verdict on the model
        raise_if_out_of_memory(error)
        raise explain(error, job) from error
    return {**_read_back(ov, job), "commands": script.commands}


def _read(script, job):
    """Let `model` be what is compiled."""
    if "quantize" in job["inputs"]:
        path = os.path.join(job["inputs"]["quantize"]["dir"], quantize.XML)
        script.let("model", OPENVINO.Core().read_model(File(path)))
    else:
        convert(script, job)


def _read_back(ov, job):
    """Precision, inputs and outputs of the artefact on disk; the tool's word that it succeeded is no proof."""
    paths = [os.path.join(job["output_dir"], name) for name in (XML, BIN)]
    if not all(map(os.path.exists, paths)) or not os.path.getsize(paths[0]):
        raise reasons.NO_WHOLE_IR()
    try:
        model = ov.Core().read_model(paths[0])
    except RuntimeError as error:
        raise reasons.IR_UNREADABLE(said=tidy(error, job)) from error
    open_inputs = [port.any_name for port in model.inputs if port.partial_shape.is_dynamic]
    if open_inputs:
        raise reasons.STILL_DYNAMIC(names=", ".join(open_inputs))
    told = {kind: [{"name": port.any_name if port.names else "", "dtype": port.element_type.to_string(),
                    "shape": [dim.get_length() if dim.is_static else None for dim in port.partial_shape]}
                   for port in ports] for kind, ports in (("inputs", model.inputs), ("outputs", model.outputs))}
    return dict(told, precision=precisions.read_precision(model, job["parameters"]["precision"]))
