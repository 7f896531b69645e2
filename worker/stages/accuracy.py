"""The accuracy gate, for every target: an artefact's outputs against the reference's. NumPy only."""
import os

from worker.stage_api import StageError

DEFAULT_MIN_COSINE = {"fp32": 0.9999, "fp16": 0.999}
_NEGLIGIBLE = 2.0**-10  # of an output's own scale: the precision of FP16
_NEGLIGIBLE_ABS = 1e-6


def read_samples(reference):
    """`(kind, inputs, outputs)` of each sample; arrays in the model's order. `reference` is the stage's input entry."""
    import numpy as np

    for sample in reference["facts"]["samples"]:
        with np.load(os.path.join(reference["dir"], sample["file"]), allow_pickle=False) as arrays:
            inputs = [arrays[f"input_{i}"] for i in range(len(reference["facts"]["inputs"]))]
            outputs = [arrays[f"output_{i}"] for i in range(len(reference["facts"]["outputs"]))]
        yield sample["kind"], inputs, outputs


def compare(expected, actual, scale):
    """Figures of one output for one sample: `{cosine, max_abs_error, max_rel_error, not_finite_mismatch}`.

    `scale` is the greatest magnitude of this output over all samples of the reference: the relative error is against
    it, and two outputs that are both far below it have no direction to compare: their cosine is 1. Cosine and errors
    are over the values that are finite on both sides; a value that is finite on one side only is a mismatch. Shapes
    must be equal, but for dimensions of one.

    Raises:
        StageError: `accuracy_too_low`: other shapes.
    """
    import numpy as np

    expected, actual = np.asarray(expected), np.asarray(actual)
    if [dim for dim in expected.shape if dim != 1] != [dim for dim in actual.shape if dim != 1]:
        raise StageError("accuracy_too_low", f"the artefact gives an output of shape {list(actual.shape)}, "
                                             f"the model one of shape {list(expected.shape)}",
                         "an output whose shape depends on the data cannot be compared; end the model before it")
    a, b = expected.ravel().astype(np.float64), actual.ravel().astype(np.float64)
    finite_a, finite_b = np.isfinite(a), np.isfinite(b)
    both = finite_a & finite_b
    if not both.all():
        a, b = a[both], b[both]
    error = float(np.abs(a - b).max(initial=0.0))
    return {"cosine": _cosine(a, b, max(scale * _NEGLIGIBLE, _NEGLIGIBLE_ABS)), "max_abs_error": error,
            "max_rel_error": error / max(scale, _NEGLIGIBLE_ABS),
            "not_finite_mismatch": int(np.count_nonzero(finite_a != finite_b))}


def _cosine(a, b, negligible):
    import numpy as np

    greatest_a, greatest_b = float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0))
    if max(greatest_a, greatest_b) <= negligible:
        return 1.0
    if not greatest_a or not greatest_b:
        return 0.0
    a, b = a / greatest_a, b / greatest_b  # else squares of very large values overflow
    return max(-1.0, min(1.0, float(a @ b) / (float(a @ a) ** 0.5 * float(b @ b) ** 0.5)))


class Gate:
    """Collects the figures of all samples, then judges: the worst of each output counts.

    `outputs` are those of the reference's facts.
    """

    def __init__(self, outputs):
        self._scales = [entry["max_abs"] for entry in outputs]
        self._worst = [{"name": entry["name"], "cosine": 1.0, "max_abs_error": 0.0, "max_rel_error": 0.0,
                        "not_finite_mismatch": 0} for entry in outputs]
        self._samples = 0

    def add(self, expected, actual):
        """One sample: the outputs expected and given, in the same order."""
        if len(expected) != len(actual):
            raise StageError("accuracy_too_low", f"the artefact has {len(actual)} outputs, the model {len(expected)}",
                             "report this: the conversion lost or added an output")
        for index, worst in enumerate(self._worst):
            figures = compare(expected[index], actual[index], self._scales[index])
            worst["cosine"] = min(worst["cosine"], figures["cosine"])
            for key in ("max_abs_error", "max_rel_error"):
                worst[key] = max(worst[key], figures[key])
            worst["not_finite_mismatch"] += figures["not_finite_mismatch"]
        self._samples += 1

    def judge(self, min_cosine, accept):
        """The facts of verify.

        Raises:
            StageError: `accuracy_too_low`, unless `accept`: the client takes the artefact as it is.
        """
        failed = [entry for entry in self._worst if entry["cosine"] < min_cosine or entry["not_finite_mismatch"]]
        if failed and not accept:
            raise StageError("accuracy_too_low",
                             f"{len(failed)} of {len(self._worst)} outputs are too far from the model's (least cosine "
                             f"allowed: {min_cosine:g}): {'; '.join(map(_tell, failed[:5]))}",
                             "try a higher precision (fp32), lower verify.min_cosine, or send accept_accuracy = true "
                             "to take the artefact as it is")
        return {"skipped": False, "samples": self._samples, "min_cosine": min_cosine, "passed": not failed,
                "accepted": bool(failed),
                "outputs": [{key: _rounded(value) for key, value in entry.items()} for entry in self._worst]}


def _tell(entry):
    text = f"{entry['name']}: cosine {entry['cosine']:.6f}, greatest error {entry['max_abs_error']:.3g}"
    if entry["not_finite_mismatch"]:
        text += f", {entry['not_finite_mismatch']} values are NaN or infinite on one side only"
    return text


def _rounded(value):
    return float(f"{value:.8g}") if isinstance(value, float) else value
