"""Stage: the compiled context, loaded again and run by the compiler's simulator of the tensor processor.

A run takes from a fraction of a second to minutes, whatever the chip would need: the first sample of a kind speaks for
all, unless the client asks for more; of the client's own test inputs, and for a quantized model, the first three, of
which one may fall to the wrong side by rounding alone. What zeros and ones would show, the reference's edge samples, is
not simulated.
"""
import os
from collections import Counter

from worker.platforms.qualcomm import reasons
from worker.platforms.qualcomm.compile import CONTEXT
from worker.stages.accuracy import compare
from worker.stages.apart import run_apart
from worker.stages.feeds import CALIBRATION, OWN_INPUTS
from worker.stages.messages import raise_if_out_of_memory, tidy
from worker.stages.overflow import overflow_named, with_overflow_told
from worker.stages.samples import EDGES
from worker.stages.verdict import judge


def run(job):
    """Facts: see `accuracy.Gate.judge`; or `skipped`. What a run took stands in the log.

    Raises:
        StageError: `accuracy_too_low`, `verify_failed` (the artefact does not run, or crashes the simulator).
    """
    reference = job["inputs"]["reference"]["facts"]
    if reference["skipped"]:
        return {"skipped": True}
    quantized = job["parameters"]["precision"] != "fp16"
    several = quantized or OWN_INPUTS in job["inputs"]
    chosen = _choose(reference["samples"], job["parameters"]["simulated_samples"] or (3 if several else 1))
    names = [entry["name"] for entry in reference["inputs"]], [entry["name"] for entry in reference["outputs"]]
    outcome = run_apart(lambda: _figures(job, names, chosen))
    if outcome.error:
        raise outcome.error
    if outcome.failure:
        raise reasons.SIMULATOR_LOST(end=outcome.failure)
    overflow = [] if quantized else reference["overflow"]  # what is quantised has scales for its values
    with overflow_named(overflow):
        return with_overflow_told(judge(outcome.value, job["parameters"]), overflow)


def _figures(job, names, chosen):
    session = _open(job)
    return compare(job, lambda inputs: _run(session, names, inputs, job), chosen).figures()


def _choose(samples, count):
    """The numbers of the first `count` samples of each kind: seeded ones, and those of the calibration set."""
    taken, chosen = Counter(), []
    for number, sample in enumerate(samples):
        calibrated = sample["kind"] == CALIBRATION
        if sample["kind"] not in EDGES and taken[calibrated] < count:
            taken[calibrated] += 1
            chosen.append(number)
    return chosen


def _open(job):
    from worker.platforms.qualcomm.toolkit import open_session

    path = os.path.join(job["inputs"]["compile"]["dir"], CONTEXT)
    try:
        return open_session(job["parameters"]["chip"], job["parameters"]["allow_cpu"], path, job["threads"])[0]
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise _failed(reasons.NOT_LOADED, error, job) from error


def _run(session, names, inputs, job):
    try:
        return session.run(names[1], dict(zip(names[0], inputs)))
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise _failed(reasons.NOT_RUN, error, job) from error


def _failed(reason, error, job):
    raise_if_out_of_memory(error)
    return reason(said=tidy(error, job))
