"""The accuracy gate, for every target: an artefact's outputs against the reference's. NumPy only."""
import os
import time
from math import isfinite

from shared.rules.bilingual import as_it_is, join
from worker.stage_api import log, report
from worker.stages import reasons
from worker.stages.feeds import CALIBRATION, raw_inputs
from worker.stages.samples import OUTPUTS, inputs_digest, output_name

# What good models of ours reach with a small calibration set: INT8 0.95 to 0.99, INT16 (8-bit weights) 0.98 to 0.99.
DEFAULT_MIN_COSINE = {"fp32": 0.9999, "fp16": 0.999, "int16": 0.98, "int8": 0.95}
# A quantized model is bound by its own calibration samples; on seeded inputs of the same range it has only to be alive:
# they are not what it was made for, yet one that was calibrated on nonsense fails on them.
_COLLAPSED = 0.8
# Two values that are both smaller have no direction to compare: a share of the output's scale (FP16's precision), and
# an absolute one for outputs that are nothing but zeros.
_NEGLIGIBLE = 2.0**-10
_NEGLIGIBLE_ABS = 1e-6


def read_samples(job):
    """`(kind, inputs, outputs)` of each sample; arrays in the model's order. `inputs` are what the artefact takes: raw
    values where the stage's parameters `mean` and `std` are baked in. Reads the inputs `reference` and `calibration`.

    Raises:
        StageError: `verify_failed`: this toolchain's NumPy makes other inputs of the same seeds.
    """
    import numpy as np

    reference, calibration = job["inputs"]["reference"], job["inputs"].get("calibration")
    facts = reference["facts"]
    with np.load(os.path.join(reference["dir"], OUTPUTS), allow_pickle=False) as arrays:
        for number, sample in enumerate(facts["samples"]):
            feed = raw_inputs(facts["inputs"], sample, job["parameters"], calibration)
            if inputs_digest(feed) != sample["inputs_sha256"]:
                raise reasons.OTHER_INPUTS()
            outputs = [arrays[output_name(number, index)] for index in range(len(facts["outputs"]))]
            yield sample["kind"], list(feed.values()), outputs


class _Output:
    """Running figures of one output; `entry` is one of the gate's. `scale` is the greatest magnitude expected."""

    def __init__(self, entry):
        self.name, self.blind, scale = entry["name"], entry.get("blind", False), entry.get("max_abs", 0.0)
        self.scale = max(scale, _NEGLIGIBLE_ABS)
        self.sums = [0.0, 0.0, 0.0]  # of a·b, a·a and b·b over all samples
        self.samples = []  # (greatest magnitude on either side, cosine)
        self.max_abs_error = 0.0
        self.mismatches = 0

    def add(self, expected, actual):
        """One sample. Only values that are finite on both sides have an error and a direction."""
        import numpy as np

        if [dim for dim in expected.shape if dim != 1] != [dim for dim in actual.shape if dim != 1]:
            raise reasons.OTHER_SHAPE(name=self.name, actual=list(actual.shape), expected=list(expected.shape))
        a, b = expected.ravel().astype(np.float64), actual.ravel().astype(np.float64)
        sums = [float(a @ b), float(a @ a), float(b @ b)]
        if not np.isfinite(sums).all():
            finite_a, finite_b = np.isfinite(a), np.isfinite(b)
            self.mismatches += int(np.count_nonzero(finite_a != finite_b))
            both = finite_a & finite_b
            a, b = a[both], b[both]
            sums = [float(a @ b), float(a @ a), float(b @ b)]
        self.sums = [total + sums[index] for index, total in enumerate(self.sums)]
        greatest = _greatest(a)
        self.scale = max(self.scale, greatest)
        self.samples.append((max(greatest, _greatest(b)), _cosine(*sums)))
        self.max_abs_error = max(self.max_abs_error, _greatest(np.subtract(a, b, out=a)))

    def figures(self):
        negligible = self.scale <= _NEGLIGIBLE_ABS and self.max_abs_error <= _NEGLIGIBLE_ABS
        worst = min((cosine for greatest, cosine in self.samples if greatest > _NEGLIGIBLE * self.scale), default=1.0)
        return {"name": self.name, "cosine": 1.0 if negligible else _cosine(*self.sums),
                "worst_sample_cosine": worst, "max_abs_error": self.max_abs_error,
                "max_rel_error": self.max_abs_error / self.scale, "not_finite_mismatch": self.mismatches,
                **({"blind": True} if self.blind else {})}


def _cosine(dot, square_a, square_b):
    if not square_a or not square_b:
        return 1.0 if square_a == square_b else 0.0
    cosine = dot / (square_a**0.5 * square_b**0.5)
    return max(-1.0, min(1.0, cosine)) if isfinite(cosine) else 0.0  # squares beyond 1e308


def _greatest(values):
    """The greatest magnitude, without a copy of the array."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0


class Gate:
    """Collects the outputs of all samples, then judges each output by its cosine over all of them.

    All, not the worst: a classifier's sample on the edge between two classes falls to the other side by rounding
    alone, while what a conversion breaks shows in most samples. The worst is told beside it. A value that is finite on
    one side only always fails. The samples of a calibration set and seeded ones are judged apart.
    """

    def __init__(self, outputs):
        """`outputs` are those of the reference's facts, or such with a name alone."""
        self._entries = outputs
        self._groups = {}  # whether it is the calibration set's -> outputs
        self._samples = 0

    def add(self, kind, expected, actual):
        """One sample: its kind, the outputs expected and given, in the same order.

        Raises:
            StageError: `accuracy_too_low`: another number of outputs, or another shape.
        """
        if len(expected) != len(actual):
            raise reasons.OTHER_COUNT(actual=len(actual), expected=len(expected))
        group = self._groups.setdefault(kind == CALIBRATION, [_Output(entry) for entry in self._entries])
        for index, output in enumerate(group):
            output.add(expected[index], actual[index])
        self._samples += 1

    def figures(self):
        """What `judge` takes, as plain JSON: `samples` (how many), and the figures of each output over those of the
        calibration set and over the seeded ones: `calibrated` and `seeded`, empty where there was no such sample.

        `max_rel_error` is against the output's greatest magnitude in the reference.
        """
        told = {kind: _rounded_all(output.figures() for output in self._groups.get(calibrated, []))
                for kind, calibrated in (("calibrated", True), ("seeded", False))}
        return dict(told, samples=self._samples)

    def judge(self, parameters):
        """See `judge`."""
        return judge(self.figures(), parameters)


def compare(job, infer, chosen=None, begins_at=0.0):
    """A `Gate` that has seen what the artefact answers to the reference's samples, to all or to those whose numbers are
    `chosen`. `infer(inputs)` gives the artefact's outputs; both are lists of arrays in the model's order. The progress
    goes from `begins_at` percent to 100. The log says how long each sample took.
    """
    reference = job["inputs"]["reference"]["facts"]
    gate = Gate(reference["outputs"])
    wanted = range(len(reference["samples"])) if chosen is None else chosen
    done = 0
    report(begins_at, f"0 of {len(wanted)} samples")
    for number, (kind, inputs, expected) in enumerate(read_samples(job)):
        if number not in wanted:
            continue
        started = time.monotonic()
        gate.add(kind, expected, infer(inputs))
        done += 1
        log(f"sample {number} ({kind}): simulated in {time.monotonic() - started:.1f} s")
        report(begins_at + (100 - begins_at) * done / len(wanted), f"{done} of {len(wanted)} samples")
    return gate


def judge(figures, parameters):
    """The facts of verify, from those that a `Gate` has collected.

    `parameters` are the task's `precision`, `verify` and `accept_accuracy`. Where there are samples of a calibration
    set, `outputs` are theirs, and `seeded_outputs` tell of the others.

    Raises:
        StageError: `accuracy_too_low`, unless the client accepts the artefact as it is.
    """
    wanted = parameters["verify"]["min_cosine"]
    bound = DEFAULT_MIN_COSINE[parameters["precision"]] if wanted is None else wanted
    outputs = figures["calibrated"] or figures["seeded"]
    seeded = figures["seeded"] if figures["calibrated"] else []
    blind = any(entry.get("blind") for entry in outputs)
    failed = [(as_it_is(entry["name"]), entry) for entry in outputs if _misses(entry, bound) or entry.get("blind")] + [
        (reasons.ON_SEEDED(name=entry["name"]), entry) for entry in seeded if _misses(entry, min(bound, _COLLAPSED))]
    if failed and not parameters["accept_accuracy"]:
        raise reasons.TOO_FAR(failed=len(failed), total=len(outputs) + len(seeded), bound=bound,
                              outputs=join("; ", (_tell(name, entry) for name, entry in failed[:5])),
                              advice=reasons.SEE_VALUES if blind else reasons.TRY_HIGHER)
    facts = {"skipped": False, "samples": figures["samples"], "min_cosine": bound, "passed": not failed,
             "accepted": bool(failed), "outputs": outputs}
    return dict(facts, seeded_outputs=seeded) if seeded else facts


def _misses(entry, bound):
    return entry["cosine"] < bound or entry["not_finite_mismatch"]


def _rounded_all(outputs):
    return [{key: _rounded(value) for key, value in entry.items()} for entry in outputs]


def _tell(name, entry):
    parts = [reasons.FIGURES(name=name, cosine=entry["cosine"], error=entry["max_abs_error"])]
    if entry["not_finite_mismatch"]:
        parts.append(reasons.NOT_FINITE(count=entry["not_finite_mismatch"]))
    if entry.get("blind"):
        parts.append(reasons.SAME_FOR_ALL)
    return join(", ", parts)


def _rounded(value):
    return float(f"{value:.8g}") if isinstance(value, float) else value
