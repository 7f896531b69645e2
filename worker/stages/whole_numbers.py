"""Outputs of whole numbers: class maps, indices, flags. A cosine means nothing there: class 3 is no better than class 7
where 4 is right. What counts is the share that agrees. NumPy only."""

_FEWEST_FLOATS = 64  # floating-point values may all be whole by chance
# Whole numbers that measure something (pixels of an image) are off by little where they are off; others are names.
_QUANTITY_RANGE, _QUANTITY_SHARE, _QUANTITY_STEP = 16, 0.95, 1 / 64
_LEAST_RANKED = 8  # in a row without a number twice: indices of what was found


class WholeNumbers:
    """Running figures of one output; `add` each sample."""

    def __init__(self):
        self._possible, self._typed, self._values = True, True, 0
        self._agreeing = self._near = 0
        self._ranked = True
        self._least, self._most = float("inf"), -float("inf")

    def add(self, expected, actual, dtype, row):
        """Flat arrays of float64, finite, in rows of `row` values; `dtype` is the model's."""
        import numpy as np

        typed = dtype.kind != "f"
        if not expected.size or not self._possible:
            return
        if not typed and not (_are_whole(expected[:_FEWEST_FLOATS]) and _are_whole(expected)):
            self._possible = False
            return
        self._typed = self._typed and typed
        self._values += expected.size
        self._least, self._most = min(self._least, float(expected.min())), max(self._most, float(expected.max()))
        actual = np.rint(actual)
        agreeing = int(np.count_nonzero(expected == actual))
        if agreeing < expected.size:
            rows = expected.reshape(-1, row)
            self._ranked = self._ranked and row >= _LEAST_RANKED and _has_none_twice(rows)
            if self._ranked:
                agreeing = sum(len(np.intersect1d(one, other)) for one, other in zip(rows, actual.reshape(-1, row)))
        self._agreeing += agreeing
        near = np.abs(expected - actual) <= max(1.0, (self._most - self._least) * _QUANTITY_STEP)
        self._near += int(np.count_nonzero(near))

    def agreement(self):
        """The share of values that agree; None where the output is none of names. Of an output that ranks (no number
        twice in a row) it is that of the numbers that are there in both, in whatever order."""
        if not self._possible or not self._values or self._most == self._least == 0:
            return None
        if not self._typed and (self._values < _FEWEST_FLOATS or self._most == self._least):
            return None
        wrong, far = self._values - self._agreeing, self._values - self._near
        ids = self._ranked or self._most - self._least < _QUANTITY_RANGE or far >= (1 - _QUANTITY_SHARE) * wrong
        if wrong and not ids:
            return None
        return self._agreeing / self._values

    def values(self):
        return self._values


def _are_whole(values):
    import numpy as np

    return np.array_equal(values, np.rint(values))


def _has_none_twice(rows):
    import numpy as np

    ordered = np.sort(rows, axis=1)
    return not (ordered[:, 1:] == ordered[:, :-1]).any()
