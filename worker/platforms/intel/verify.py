"""Stage: the IR's outputs on OpenVINO's CPU plugin against the reference.

The plugin computes in FP32 whatever the machine's default is (bfloat16 on some), so that the figures are the
artefact's, the rounding of compressed weights above all, and equal on every machine. What only a device that computes
in FP16 would lose, values beyond FP16's range, is told as a warning.
"""
import os

from worker.platforms.intel.compile import XML
from worker.stage_api import StageError, report
from worker.stages.accuracy import DEFAULT_MIN_COSINE, Gate, read_samples
from worker.stages.messages import raise_if_out_of_memory, tidy

_FP16_MAX = 65504.0


def run(job):
    """Facts: see `accuracy.Gate.judge`, and warnings; or `skipped`.

    Raises:
        StageError: `accuracy_too_low`, `verify_failed` (the artefact does not run).
    """
    reference = job["inputs"]["reference"]
    parameters = job["parameters"]
    if reference["facts"]["skipped"]:
        return {"skipped": True}
    outputs = reference["facts"]["outputs"]
    gate = Gate(outputs)
    total = len(reference["facts"]["samples"])
    infer = _load(job, reference["facts"])
    report(30, "comparing")
    for number, (_, inputs, expected) in enumerate(read_samples(reference)):
        gate.add(expected, infer(inputs))
        report(30 + 70 * (number + 1) / total, f"{number + 1} of {total} samples")
    wanted = parameters["verify"]["min_cosine"]
    facts = gate.judge(DEFAULT_MIN_COSINE[parameters["precision"]] if wanted is None else wanted,
                       parameters["accept_accuracy"])
    beyond = [entry["name"] for entry in outputs if entry["max_abs"] > _FP16_MAX]
    facts["warnings"] = ["beyond the range of FP16, in which an NPU computes: " + ", ".join(beyond)] if beyond else []
    return facts


def _load(job, facts):
    """`infer(inputs) -> outputs`, both lists of arrays in the ONNX model's order."""
    from worker.platforms.intel.toolkit import ov

    try:
        compiled = ov.Core().compile_model(os.path.join(job["inputs"]["compile"]["dir"], XML), "CPU", {
            "INFERENCE_NUM_THREADS": job["threads"], "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise _failed(error, job) from error
    names = [entry["name"] for entry in facts["inputs"]]

    def infer(inputs):
        try:
            results = compiled({names[index]: array for index, array in enumerate(inputs)})
        except (RuntimeError, TypeError, ValueError) as error:
            raise _failed(error, job) from error
        return [results[port] for port in compiled.outputs]

    return infer


def _failed(error, job):
    raise_if_out_of_memory(error)
    return StageError("verify_failed", "the artefact does not run on OpenVINO's CPU plugin: " + tidy(error, job),
                      "try precision fp32; verify.enabled = false delivers it without running it")
