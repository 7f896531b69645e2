"""Stage: the verdict on the simulator's outputs. Compile has measured them, since only its process can simulate."""
from worker.stages.accuracy import judge
from worker.stages.overflow import overflow_named, with_overflow_told


def run(job):
    """Facts: see `accuracy.judge`; or `skipped`.

    Raises:
        StageError: `accuracy_too_low`.
    """
    compiled, parameters = job["inputs"]["compile"]["facts"], job["parameters"]
    if compiled["figures"] is None:
        return {"skipped": True}
    in_fp16 = parameters["precision"] == "fp16" and parameters["float_dtype"] == "float16"
    overflow = job["inputs"]["reference"]["facts"]["overflow"] if in_fp16 else []
    with overflow_named(overflow):
        return with_overflow_told(judge(compiled["figures"], parameters), overflow)
