"""Whether an input lies in what a calibration set stands for, by what the reference computes inside the model for both.

A quantised artefact cuts values off at the ranges that the set has shown. A seeded sample that drives the model beyond
them tells nothing of the artefact.
"""

_MARGIN = 0.5  # of a tensor's range; the samples that are learned do not show all of it
# A set on which the outputs hardly move, against a seeded picture, shows no ranges that anything could be beyond.
_ALIVE = 0.05


class Distribution:
    """Learns from samples of the set. `outputs` are the names of the model's outputs; ranges are those of
    `Inner.run`."""

    def __init__(self, outputs):
        self._outputs, self._ranges = outputs, {}

    def learn(self, ranges):
        for name, (least, greatest) in ranges.items():
            before = self._ranges.get(name, (least, greatest))
            self._ranges[name] = (min(least, before[0]), max(greatest, before[1]))

    def find_beyond(self, ranges):
        """The tensor that the sample drives furthest beyond the set, as `{"name", "value", "range"}`; None where it
        stays within, and where the set shows nothing of the model."""
        if not self._is_alive(ranges):
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

    def _is_alive(self, ranges):
        known = [(self._ranges[name], ranges[name]) for name in self._outputs
                 if name in self._ranges and name in ranges]
        return bool(self._ranges) and all(
            greatest - least >= _ALIVE * (ends[1] - ends[0]) for (least, greatest), ends in known)
