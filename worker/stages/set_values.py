"""What the values of a calibration set tell: their ranges, and whether they can tell a quantizer anything."""
from math import isfinite, prod

from shared.rules.reasons import calibration as reasons

_CHANNELS = (1, 3, 4)
_FLOATS = ("float", "float16", "double")
_LEAST_SIDE = 4  # what is narrower is a signal, or may well be of one colour
# What a picture has to span somewhere: a share of its greatest magnitude; and of the 256 steps that a file has, or of
# the 0 to 1 that a picture of three channels has at least, whatever it was scaled to.
_FLAT = 1e-3
_DARK = 8
_STEPS = 255


class SetValues:
    """Gathers the samples of `inputs` ([{name, dtype, shape}]).

    `ranges` are {input: [least, greatest]}. Per input it is kept how far values of one sample lie apart at most: for a
    picture within one channel, since a sheet of one colour is no picture.
    """

    def __init__(self, inputs):
        self.ranges = {item["name"]: [float("inf"), float("-inf")] for item in inputs}
        self._images = {item["name"]: axis for item in inputs for axis in [_image_axis(item["shape"])] if axis}
        self._coloured = {item["name"] for item in inputs if item["dtype"] in _FLOATS
                          and item["name"] in self._images and item["shape"][self._images[item["name"]]] == 3}
        self._elements = {item["name"]: prod(item["shape"]) for item in inputs}
        self._sums = {name: [0.0, 0.0, 0] for name in self.ranges}  # of values, of their squares, and how many
        self._spans = dict.fromkeys(self.ranges, 0.0)
        self._from_files = dict.fromkeys(self.ranges, True)
        self._count, self._first, self._all_equal = 0, None, True

    def add(self, arrays, from_images):
        """One sample; `from_images` tells for each input whether a picture's file was read."""
        import numpy as np

        self._count += 1
        for (name, bounds), array, from_image in zip(self.ranges.items(), arrays, from_images):
            bounds[:] = min(bounds[0], float(array.min())), max(bounds[1], float(array.max()))
            values, sums = array.astype(np.float64), self._sums[name]
            sums[:] = sums[0] + float(values.sum()), sums[1] + float((values * values).sum()), sums[2] + values.size
            self._spans[name] = max(self._spans[name], _span(array, self._images.get(name)))
            self._from_files[name] = self._from_files[name] and from_image
        self._first = self._first or arrays
        self._all_equal = self._all_equal and all(np.array_equal(a, b) for a, b in zip(self._first, arrays))

    def moments(self):
        """{input: [mean, standard deviation]} over all samples."""
        return {name: [_round(total / count), _round(max(0.0, squares / count - (total / count) ** 2) ** 0.5)]
                for name, (total, squares, count) in self._sums.items() if count}

    def problem(self):
        """Why the set is of no use: every picture is of one colour, or every input always has one value. The ranges
        that a quantizer finds in such a set are none of the model's. None for a set that may be of use."""
        judged = list(self._images) or [name for name, count in self._elements.items() if count > 1]
        if not judged or not all(map(self._says_nothing, judged)):
            return None
        least = min(self.ranges[name][0] for name in judged)
        greatest = max(self.ranges[name][1] for name in judged)
        reason = reasons.ONE_COLOUR if self._images else reasons.ONE_VALUE
        return reason(count=self._count, inputs=", ".join(judged), least=f"{least:g}", greatest=f"{greatest:g}")

    def warnings(self):
        found = [f"input {name!r} has the same value everywhere in the calibration set"
                 for name, (least, greatest) in self.ranges.items() if least == greatest]
        if self._all_equal:
            found.append("all calibration samples are the same" if self._count > 1 else
                         "the calibration set is a single sample")
        return found

    def _says_nothing(self, name):
        least, greatest = self.ranges[name]
        if name not in self._images:
            return least == greatest
        if self._from_files[name]:
            return self._spans[name] <= _DARK
        dark = _DARK / _STEPS if name in self._coloured else 0.0
        return self._spans[name] <= max(dark, _FLAT * max(abs(least), abs(greatest)))


def _round(value):
    return float(f"{value:.6g}") if isfinite(value) else 0.0


def _image_axis(shape):
    """Where the channels of a picture's shape are, 1 or 3; None for what is no picture."""
    if len(shape) != 4:
        return None
    axis = 1 if shape[1] in _CHANNELS else 3 if shape[3] in _CHANNELS else None
    sides = shape[2:] if axis == 1 else shape[1:3]
    return axis if axis and min(sides) >= _LEAST_SIDE else None


def _span(array, channel_axis):
    """The greatest distance between two values, of one channel of one picture where it is one."""
    import numpy as np

    if channel_axis is None:
        return float(array.max()) - float(array.min())
    axes = tuple(axis for axis in (1, 2, 3) if axis != channel_axis)
    return float((array.max(axis=axes).astype(np.float64) - array.min(axis=axes)).max())
