"""An output's error along its axes: running figures of each slice (a channel, a class), over all samples. NumPy only.

A cosine over the whole output hides what is small in it: scores from 0 to 1 beside pixel coordinates may all be lost
while it says 0.9999. So each slice is held against its own variation. Which figures fail is in `dead_slices`.
"""
from worker.stages.axes import find_axes

MAX_TOLD = 256  # slices of one axis in the figures; where there are more, those that tell most

# A slice has a small scale if its greatest magnitude is less than a 32nd of the output's, which leaves it at most eight
# steps of eight bits, and a gap lies between: a factor of 4 or more, and more than the root of the one by which the
# slices above it differ. Magnitudes that fall off evenly, as those of features do, are all of one kind.
_SMALL, _GAP = 1 / 32, 4.0
_FEWEST = 1 / 64  # of all slices: one in hundreds is the tail of an even distribution
_MATTERS = 1 / 16  # of the greatest small slice: a class that no sample shows says nothing about its artefact
_VARIES = 1 / 16  # of the slice's own magnitude: less is an offset with next to nothing on it
_VARIES_OF_FEW = 1 / 2  # the same where a slice has few values, which may be alike by chance
_FEW = 32
_LARGE_DEAD = 1 / 4  # of the output's magnitude: a slice of no small scale that varies by more cannot be constant
_FEWEST_VALUES = 4  # of such a slice
_CONSTANT = 1e-3  # of the slice's variation in the model: what is left in the artefact of a dead one, at most
_RECTIFIED = 0.05  # the share of exact zeros in a ReLU's output, in idle channels too
_SATURATED = 0.4  # HardSwish, Mish, SiLU and GELU go no deeper: a channel that is never positive there is an idle one
_SMALLEST = 2.0**-14  # below it FP16 loses digits
_ROUNDING = 2.0**-10  # FP16's own, relative to the slice's magnitude: no error of the conversion
_LISTS = ("largest", "spread", "artefact_spread", "error")


class Slices:
    """Of one output; `add` each sample."""

    def __init__(self):
        self._shape, self._axes = None, {}

    def add(self, expected, actual, shape):
        """Flat arrays of float64, finite; `shape` is the model's. An output whose shape changes has no slices."""
        if self._shape is None and expected.size:
            self._shape = list(shape)
            self._axes = {axis: _Axis(shape[:axis], shape[axis], shape[axis + 1:]) for axis in find_axes(shape)}
            self._axes = self._axes or {None: _Axis((), 1, shape)}
        if self._shape != list(shape):
            self._axes = {}
        for axis in self._axes.values():
            axis.add(expected, actual)

    def figures(self):
        """For each axis, and for the output as one slice (axis None): `axis`, `shape` (the output's), `values` (of
        each slice), `probabilities` (whether all lie in 0..1), and lists over the slices: `largest` (magnitude) and
        `spread` (standard deviation) in the model, `artefact_spread`, `error` (root mean square beyond FP16's rounding,
        relative to the spread).

        Lists of indices: `small` (of a small scale), `dead` (they vary in the model and not in the artefact), `faint`
        (small ones that alone prove nothing), and `indices` of the slices told where these are not all.
        """
        axes = dict(self._axes)
        if axes and None not in axes:
            axes[None] = next(iter(axes.values())).as_one_slice()
        return [dict(found, axis=number, shape=self._shape) for number, axis in axes.items()
                for found in [axis.figures()] if found]


class _Axis:
    """Running sums along one axis; `before` and `after` are the other dimensions."""

    def __init__(self, before, size, after):
        from math import prod

        import numpy as np

        self._view = (prod(before), size, prod(after))
        self._values = 0  # of each slice
        self._sums = np.zeros((6, size))
        self._least, self._most = np.full((2, size), np.inf), np.full((2, size), -np.inf)

    def add(self, expected, actual):
        import numpy as np

        a, b = expected.reshape(self._view), actual.reshape(self._view)
        products = [np.einsum("ijk,ijk->j", one, other) for one, other in ((a, a), (b, b), (a, b))]  # without copies
        sums = np.stack([a.sum((0, 2)), b.sum((0, 2)), *products, np.count_nonzero(a == 0, (0, 2)).astype(np.float64)])
        least, most = (np.stack([getattr(array, name)((0, 2)) for array in (a, b)]) for name in ("min", "max"))
        self._values += self._view[0] * self._view[2]
        self._sums += sums
        np.minimum(self._least, least, out=self._least)
        np.maximum(self._most, most, out=self._most)

    def as_one_slice(self):
        """The same of all slices together."""
        one = _Axis((), 1, self._view)
        one._values = self._values * self._view[1]
        one._sums, one._least, one._most = (self._sums.sum(1, keepdims=True), self._least.min(1, keepdims=True),
                                            self._most.max(1, keepdims=True))
        return one

    def figures(self):
        import numpy as np

        if not self._values or not np.isfinite(self._sums).all():
            return None
        mean_a, mean_b, square_a, square_b, product, zeros = self._sums / self._values
        error = np.maximum(square_a + square_b - 2 * product, 0)
        spread, artefact_spread = (np.sqrt(np.maximum(square - mean**2, 0))
                                   for square, mean in ((square_a, mean_a), (square_b, mean_b)))
        largest = np.maximum(self._most[0], -self._least[0])
        reach, reach_of_artefact = self._most - self._least
        probabilities = bool(self._least[0].min() >= 0 and self._most[0].max() <= 1 + 1e-6)
        varies = reach > largest * (_VARIES if self._values >= _FEW else _VARIES_OF_FEW)
        small = varies & (largest > _SMALLEST) & _find_small(largest)
        if probabilities:
            small[:] = False  # of one kind, whatever the samples show
        if self._least[0].min() >= 0 and zeros[~small].mean() > _RECTIFIED:
            small &= zeros <= _RECTIFIED  # boxes may be cut at 0; then their scores are not
        if self._least[0].min() >= -_SATURATED:
            small &= self._most[0] > 0
        # Where the artefact shows more than the model does, that are false alarms, and they matter as well.
        shown = np.maximum(largest, np.maximum(self._most[1], -self._least[1]))
        faint = small & (shown < _MATTERS * largest.max(initial=0, where=small))
        large = (reach > _LARGE_DEAD * largest.max()) & (self._values >= _FEWEST_VALUES)
        dead = (reach_of_artefact <= _CONSTANT * reach) & (small | large)
        beyond = np.maximum(np.sqrt(error) - _ROUNDING * largest, 0)
        relative = np.divide(beyond, spread, out=np.zeros_like(spread), where=spread > 1e-7 * largest)
        told = _choose(relative, dead, small)
        lists = zip(_LISTS, (largest, spread, artefact_spread, relative))
        return {"values": self._values, "probabilities": probabilities,
                **({} if len(told) == len(spread) else {"indices": told.tolist()}),
                **{name: [float(f"{value:.4g}") for value in array[told]] for name, array in lists},
                **{name: np.flatnonzero(which).tolist()
                   for name, which in (("small", small), ("dead", dead), ("faint", faint))}}


def _find_small(largest):
    """Which slices have a scale of another kind than the output's, by their magnitudes."""
    import numpy as np

    falling = np.maximum(-np.sort(-largest), 1e-300)
    gaps = np.flatnonzero(falling[:-1] >= falling[1:] * np.maximum(_GAP, np.sqrt(falling[0] / falling[:-1])))
    below = falling[gaps[0] + 1] if len(gaps) else 0.0
    small = (largest < _SMALL * falling[0]) & (largest <= below)
    return small & (np.count_nonzero(small) >= _FEWEST * len(largest))


def _choose(relative, dead, small):
    """The indices of the slices that are told, at most `MAX_TOLD`."""
    import numpy as np

    if len(relative) <= MAX_TOLD:
        return np.arange(len(relative))
    return np.sort(np.argsort(-(np.minimum(relative, 1e3) + 1e6 * dead + 1e4 * small), kind="stable")[:MAX_TOLD])
