"""Stage: the IR's outputs on OpenVINO's CPU plugin against the reference.

What only a device that computes in FP16 would lose, values beyond FP16's range, is told as a warning.
"""
import os

from worker.platforms.intel import reasons
from worker.platforms.intel.compile import XML
from worker.platforms.intel.interface import read_steps
from worker.platforms.intel.runtime import compile_for_cpu, infer
from worker.stages.accuracy import compare
from worker.stages.messages import raise_if_out_of_memory, tidy
from worker.stages.overflow import with_overflow_told


def run(job):
    """Facts: see `accuracy.Gate.judge`, and warnings; or `skipped`.

    Raises:
        StageError: `accuracy_too_low`, `verify_failed` (the artefact does not run).
    """
    reference = job["inputs"]["reference"]
    if reference["facts"]["skipped"]:
        return {"skipped": True}
    steps = read_steps(job["parameters"], reference["facts"]["inputs"])
    compiled = _load(job, steps)
    facts = compare(job, lambda inputs: _infer(compiled, steps, inputs, job), begins_at=30).judge(job["parameters"])
    return with_overflow_told(facts, reference["facts"]["overflow"])


def _load(job, steps):
    from worker.platforms.intel.toolkit import ov

    try:
        model = ov.Core().read_model(os.path.join(job["inputs"]["compile"]["dir"], XML))
        for entry in steps:
            if entry.as_bytes:
                # Samples are not whole numbers. Byte or not, the first thing that the artefact does is to make them
                # floating point, so this compares all of it but for the client's own rounding.
                _parameter(model, entry.name).set_element_type(ov.Type.f32)
        model.validate_nodes_and_infer_types()
        return compile_for_cpu(ov, model, job["threads"])
    except RuntimeError as error:
        raise _failed(error, job) from error


def _parameter(model, name):
    return next(node for node in model.get_parameters() if name in node.output(0).get_names())


def _infer(compiled, steps, inputs, job):
    """The artefact's outputs for arrays in the order of the ONNX model's inputs."""
    ports = find_ports(compiled.inputs, [entry.name for entry in steps])
    try:
        return infer(compiled, {ports[entry.name]: entry.adapt(array) for entry, array in zip(steps, inputs)
                                if entry.name in ports})
    except (RuntimeError, TypeError, ValueError) as error:
        raise _failed(error, job) from error


def find_ports(ports, names):
    """`{name: port}` of the artefact's inputs. One that is handed on as it is has lost its name to the output; then
    those that are left belong together in their order. What the artefact has no input for any more has none."""
    found = {name: port for port in ports for name in port.names if name in names}
    taken = list(found.values())
    nameless = [port for port in ports if all(port is not other for other in taken)]
    missing = [name for name in names if name not in found]
    return {**found, **(dict(zip(missing, nameless)) if len(missing) == len(nameless) else {})}


def _failed(error, job):
    raise_if_out_of_memory(error)
    return reasons.DOES_NOT_RUN(said=tidy(error, job))
