"""Stage: the artefact under its published name. The EPContext model names its binary, so a rename alone breaks it."""
import os
import shutil

from worker.platforms.qualcomm import reasons
from worker.platforms.qualcomm.artefact import MAX_EMBEDDED_BYTES, Artefact, attribute
from worker.platforms.qualcomm.compile import BINARY, CONTEXT
from worker.stages.messages import raise_if_out_of_memory, tidy

_NEEDS_BINARY = "external_dependencies"  # metadata: what has to lie beside the model


def run(job):
    """Writes NAME_ctx.onnx and NAME_qnn.bin, or with `embed` the first alone; and opens it. Facts: none.

    Raises:
        StageError: `artefact_too_large`, `verify_failed`.
    """
    import onnx

    parameters, source = job["parameters"], job["inputs"]["compile"]["dir"]
    artefact = Artefact(os.path.join(source, CONTEXT))
    target = os.path.join(job["output_dir"], parameters["output_name"] + "_ctx.onnx")
    binary = parameters["output_name"] + "_qnn.bin"
    if parameters["embed"]:
        _embed(artefact, os.path.join(source, BINARY))
    else:
        for node in artefact.owners():
            attribute(node, "ep_cache_context").s = binary.encode()
        shutil.copyfile(os.path.join(source, BINARY), os.path.join(job["output_dir"], binary))
    onnx.save_model(artefact.model, target)
    _open(job, target)
    return {}


def _embed(artefact, binary):
    size = os.path.getsize(binary)
    if size > MAX_EMBEDDED_BYTES:
        raise reasons.TOO_LARGE_TO_EMBED(mib=size >> 20, limit_mib=MAX_EMBEDDED_BYTES >> 20)
    with open(binary, "rb") as file:
        content = file.read()
    for node in artefact.contexts:
        attribute(node, "embed_mode").i = 1
    for node in artefact.owners():
        attribute(node, "ep_cache_context").s = content
    for entry in artefact.model.metadata_props:
        if entry.key == _NEEDS_BINARY:
            entry.value = ""


def _open(job, path):
    from worker.platforms.qualcomm.toolkit import open_session

    try:
        open_session(job["parameters"]["chip"], job["parameters"]["allow_cpu"], path, job["threads"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise_if_out_of_memory(error)
        raise reasons.DOES_NOT_LOAD(said=tidy(error, job)) from error
