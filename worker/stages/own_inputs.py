"""Stage: the client's own test inputs as plain arrays: what the accuracy check then judges by, instead of seeded ones.

The set has the form of a calibration set. Of a larger one `verify.samples` are taken, spread over it.
"""
from shared.rules.own_inputs import as_said_of_test_inputs, is_of_set
from shared.rules.reasons import calibration as reasons
from worker.stage_api import StageError
from worker.stages.asked import set_inputs
from worker.stages.calibration import find_samples, spread, write_samples

PARAMETER = "verify.inputs"


def run(job):
    """Writes NNNNN_I.npy as the stage `calibration` does. Facts: `samples` (the files of each), `verify` (the indices
    of all of them).

    Raises:
        StageError: `test_inputs_invalid`: names the file and what is wrong with it.
    """
    inputs = set_inputs(job)
    try:
        root, samples = find_samples(job["inputs"]["verify_files"], PARAMETER, inputs)
        taken = [samples[index] for index in spread(len(samples), job["parameters"]["verify"]["samples"])]
        written = write_samples(job, root, taken)
    except StageError as error:
        if not is_of_set(error):
            raise
        raise reasons.OF_TEST_INPUTS(**as_said_of_test_inputs(error)) from error
    return {"samples": written, "verify": list(range(len(written)))}
