"""Stage: the outputs that the simulator gave in compile, against the reference's. NumPy only."""
import os

from worker.stage_api import StageError
from worker.stages.accuracy import Gate, read_samples


def run(job):
    """Facts: see `accuracy.Gate.judge`; or `skipped`.

    Raises:
        StageError: `accuracy_too_low`.
    """
    compiled, reference = job["inputs"]["compile"], job["inputs"]["reference"]["facts"]
    if reference["skipped"]:
        return {"skipped": True}
    part = compiled["facts"]["part_outputs"]  # of a part of the model; the reference ran the whole
    gate = Gate(reference["outputs"] if part is None else part)
    for number, (kind, _, expected) in enumerate(read_samples(job)):
        simulated, part_expected = read_outputs(compiled["dir"], number)
        gate.add(kind, expected if part is None else part_expected, simulated)
    return gate.judge(job["parameters"])


def save_outputs(folder, number, simulated, expected):
    """Sample `number`: lists of arrays; `expected` only where the reference does not have it."""
    import numpy as np

    arrays = {f"{kind}_{index}": array for kind, outputs in (("simulated", simulated), ("expected", expected))
              for index, array in enumerate(outputs)}
    np.savez(_path(folder, number), allow_pickle=False, **arrays)


def read_outputs(folder, number):
    """`(simulated, expected)` of a sample."""
    import numpy as np

    try:
        with np.load(_path(folder, number), allow_pickle=False) as arrays:
            return tuple([arrays[f"{kind}_{index}"] for index in range(sum(name.startswith(kind) for name in arrays))]
                         for kind in ("simulated", "expected"))
    except OSError as error:
        raise StageError("verify_failed", f"the simulator's outputs for sample {number} are missing",
                         "retry the task; if it persists, report it") from error


def _path(folder, number):
    return os.path.join(folder, f"sample_{number:02d}.npz")
