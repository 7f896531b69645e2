"""One output of the artefact against the model's, over all samples: the figures that the gate judges. NumPy only."""
from math import isfinite

from worker.stages import reasons
from worker.stages.probabilities import NEGLIGIBLE
from worker.stages.slices import Slices
from worker.stages.whole_numbers import WholeNumbers

# Two values that are both smaller have no direction to compare: a share of the output's scale (FP16's precision), and
# an absolute one for outputs that are nothing but zeros.
_NEGLIGIBLE = 2.0**-10
_NEGLIGIBLE_ABS = 1e-6


class Output:
    """Running figures of one output; `entry` is one of the gate's. `scale` is the greatest magnitude expected."""

    def __init__(self, entry):
        self.name, self.scale = entry["name"], max(entry.get("max_abs", 0.0), _NEGLIGIBLE_ABS)
        self._told = {name: entry[name] for name in ("blind", "joined") if entry.get(name)}  # as the reference has it
        self._is_probability = entry.get("probability", False)
        self.sums = [0.0, 0.0, 0.0]  # of a·b, a·a and b·b over all samples
        self.samples = []  # (greatest magnitude on either side, cosine)
        self.max_abs_error = 0.0
        self.mismatches = 0
        self._slices, self._whole = Slices(), WholeNumbers()

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
            a, b = np.where(both, a, 0), np.where(both, b, 0)
            sums = [float(a @ b), float(a @ a), float(b @ b)]
        self.sums = [total + sums[index] for index, total in enumerate(self.sums)]
        greatest = _greatest(a)
        self.scale = max(self.scale, greatest)
        self.samples.append((max(greatest, _greatest(b)), _cosine(*sums)))
        self._whole.add(a, b, expected.dtype, expected.shape[-1] if expected.ndim else 1)
        self._slices.add(a, b, expected.shape)
        self.max_abs_error = max(self.max_abs_error, _greatest(np.subtract(a, b, out=a)))

    def figures(self):
        negligible = self.scale <= _NEGLIGIBLE_ABS and self.max_abs_error <= _NEGLIGIBLE_ABS
        # Of probabilities the samples may show none; what that means depends on the precision, see `verdict`.
        unshown = self._is_probability and max((greatest for greatest, _ in self.samples), default=0.0) <= NEGLIGIBLE
        worst = min((cosine for greatest, cosine in self.samples if greatest > _NEGLIGIBLE * self.scale), default=1.0)
        agreement = self._whole.agreement()
        told = {"slices": self._slices.figures()} if agreement is None else {
            "agreement": agreement, "values": self._whole.values()}
        return {"name": self.name, "cosine": 1.0 if negligible else _cosine(*self.sums),
                "worst_sample_cosine": worst, "max_abs_error": self.max_abs_error,
                "max_rel_error": self.max_abs_error / self.scale, "not_finite_mismatch": self.mismatches,
                **({"unshown": True} if unshown else {}), **self._told, **told}


def _cosine(dot, square_a, square_b):
    if not square_a or not square_b:
        return 1.0 if square_a == square_b else 0.0
    cosine = dot / (square_a**0.5 * square_b**0.5)
    return max(-1.0, min(1.0, cosine)) if isfinite(cosine) else 0.0  # squares beyond 1e308


def _greatest(values):
    """The greatest magnitude, without a copy of the array."""
    return max(float(values.max()), -float(values.min())) if values.size else 0.0
