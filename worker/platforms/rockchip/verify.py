"""Stage: the verdict on the simulator's outputs. Compile has measured them, since only its process can simulate."""
from worker.stages.accuracy import judge


def run(job):
    """Facts: see `accuracy.judge`; or `skipped`.

    Raises:
        StageError: `accuracy_too_low`.
    """
    figures = job["inputs"]["compile"]["facts"]["figures"]
    return {"skipped": True} if figures is None else judge(figures, job["parameters"])
