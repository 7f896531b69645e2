"""Whether an input lies in what a calibration set stands for, by what the reference computes inside the model for both.

A quantised artefact cuts values off at the ranges that the set has shown. A seeded sample that drives the model beyond
them tells nothing of the artefact.
"""

_MARGIN = 0.5  # of a tensor's range; the few samples that are learned do not show all of it
# A set on which the outputs hardly move, against a seeded picture, shows no ranges that anything could be beyond.
_ALIVE = 0.05


class Distribution:
    """Learns from samples of the set."""

    def __init__(self):
        self._ranges, self._spans = {}, {}

    def learn(self, ranges, outputs):
        """`ranges` are those of `Inner.run`, `outputs` {name: array}."""
        for name, (least, greatest) in ranges.items():
            before = self._ranges.get(name, (least, greatest))
            self._ranges[name] = (min(least, before[0]), max(greatest, before[1]))
        for name, span in _spans(outputs).items():
            before = self._spans.get(name, span)
            self._spans[name] = (min(span[0], before[0]), max(span[1], before[1]))

    def find_beyond(self, ranges, outputs):
        """The tensor that the sample drives furthest beyond the set, as `{"name", "value", "range"}`; None where it
        stays within, and where the set shows nothing of the model."""
        if not self._is_alive(outputs):
            return None
        furthest, found = _MARGIN, None
        for name, ends in ranges.items():
            least, greatest = self._ranges.get(name, ends)
            span = max(greatest - least, 1e-6 * max(abs(least), abs(greatest)), 1e-12)
            for value, distance in ((ends[0], least - ends[0]), (ends[1], ends[1] - greatest)):
                if distance / span > furthest:
                    furthest = distance / span
                    found = {"name": name, "value": value, "range": [least, greatest]}
        return found

    def _is_alive(self, outputs):
        return bool(self._spans) and all(
            self._spans[name][1] - self._spans[name][0] >= _ALIVE * (span[1] - span[0])
            for name, span in _spans(outputs).items() if name in self._spans)


def _spans(outputs):
    """`{name: (least, greatest)}` of those of floating-point numbers."""
    import numpy as np

    found = {}
    for name, array in outputs.items():
        finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array[:0]
        if finite.size:
            found[name] = (float(finite.min()), float(finite.max()))
    return found
