"""What the model's inner tensors tell of the reference's samples: values beyond FP16, and whom to leave out."""
import os

from shared.rules.models import MODEL
from worker.stage_api import log
from worker.stages.distribution import Distribution
from worker.stages.feeds import CALIBRATION
from worker.stages.inner import open_inner
from worker.stages.overflow import Overflow
from worker.stages.samples import EDGES

_LOOKED_AT = 2  # samples whose inner values are looked at, where there is no set


class LookedInto:
    """What the model's inner tensors tell of the samples. All of a set's samples are looked at, and the seeded ones
    beside them; else the first two."""

    def __init__(self, job, names, has_set):
        self._folder, self._threads = job["inputs"]["optimize"]["dir"], job["threads"]
        self._has_set, self._left = has_set, _LOOKED_AT
        self._inner, self._is_open = None, False
        self._overflow, self._distribution = Overflow(), Distribution(names)
        self._left_out = []

    def learn(self, feed):
        """A sample of the set; most are not judged, but the quantizer has seen them."""
        self._distribution.learn(self._look(feed))

    def is_to_be_judged(self, kind, feed):
        """Whether the sample tells anything of an artefact. Those of a set come first; a seeded one that drives the
        model beyond what they do is left out."""
        if kind in EDGES or not (self._has_set or self._left):
            return True
        ranges = self._look(feed)
        if not ranges:
            return True
        self._overflow.add(ranges)
        if kind == CALIBRATION:
            self._distribution.learn(ranges)
        beyond = self._distribution.find_beyond(ranges) if self._has_set and kind != CALIBRATION else None
        if beyond:
            self._left_out.append(beyond)
        return beyond is None

    def warnings(self):
        """That seeded samples were left out, and why: the first of them."""
        if not self._left_out:
            return []
        first, (least, greatest) = self._left_out[0], self._left_out[0]["range"]
        return [f"seeded samples that are left out, being of another kind than the calibration set: "
                f"{len(self._left_out)}; for the first the model itself computes {first['value']:.4g} in "
                f"{first['name']!r}, for the set {least:.4g} to {greatest:.4g}"]

    def overflow(self):
        return self._overflow.tensors(os.path.join(self._folder, MODEL))

    def _look(self, feed):
        """The ranges; {} where the model cannot be looked into."""
        if not self._is_open:
            self._inner, self._is_open = open_inner(self._folder, self._threads), True
        self._left = max(0, self._left - 1)
        if self._inner is None:
            return {}
        try:
            return dict(_ranges_of(feed), **self._inner.run(feed))
        except Exception as error:  # ONNX Runtime's errors share no base class; the model itself did run
            log(f"the model's inner tensors are not looked at: {str(error)[:200]}")
            self._inner = None
            return {}


def _ranges_of(feed):
    return {name: (float(array.min()), float(array.max())) for name, array in feed.items()
            if array.dtype.kind == "f" and array.size}
