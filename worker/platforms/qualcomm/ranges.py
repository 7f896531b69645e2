"""The ranges of activations, with room for what the calibration set does not show: a value beyond is cut off."""
import os
from pathlib import Path

from worker.stages.graph import Graph

ROOM_16 = 2.0  # of 65536 steps some can be spared
_DEVIATIONS = 3.0  # of 256 steps few: only as far as the extremes of the set's samples vary


def measure(path, operators, feeds, limits, augmented):
    """The ranges (ONNX Runtime's `TensorsData`) of what those operators of the model at `path` take and write.

    An end is the set's own, or three standard deviations of the samples' own ends from their mean if that lies farther
    out; but within `limits`, and on the same side of zero. `augmented` is where the model that measures is written.
    """
    import numpy as np
    from onnxruntime.quantization import calibrate

    calibrator = calibrate.create_calibrator(
        Path(path), operators, augmented, use_external_data_format=os.path.exists(path + ".data"))
    each = {}
    for feed in feeds:
        calibrator.calibrate_tensors_range = None  # it would merge the samples' ranges
        calibrator.collect_data(_One(feed))
        for name, data in calibrator.compute_data().items():
            each.setdefault(name, []).append([float(bound.reshape(-1)[0]) for bound in data.range_value])
    found = {}
    for name, ends in each.items():
        ends = np.array(ends)
        mean, far = ends.mean(0), _DEVIATIONS * ends.std(0)
        lowest, highest = min(ends[:, 0].min(), mean[0] - far[0]), max(ends[:, 1].max(), mean[1] + far[1])
        found[name] = _data(max(lowest, 0.0) if ends.min() >= 0 else lowest,
                            min(highest, 0.0) if ends.max() <= 0 else highest, limits.get(name))
    return calibrate.TensorsData(calibrate.CalibrationMethod.MinMax, found)


class _One:
    """A reader of one sample."""

    def __init__(self, feed):
        self._feeds = [feed]

    def get_next(self):
        return self._feeds.pop() if self._feeds else None


def find_limits(model):
    """`{value: (lowest, highest)}` of what a Clip writes: the quantizer drops it, and the range alone cuts off."""
    import numpy as np

    graph, found = Graph(model), {}
    for node in graph.graph.node:
        given = [*node.input[1:], "", ""][:2]
        if node.op_type == "Clip" and not set(filter(None, given)) - set(graph.constants):
            found[node.output[0]] = [float(graph.array(name).reshape(-1)[0]) if name else end
                                     for name, end in zip(given, (-np.inf, np.inf))]
    return found


def with_room(found, limits):
    """The ranges for 16 bits, within the limits."""
    from onnxruntime.quantization import calibrate

    wide = {}
    for name, data in found.items():
        lowest, highest = bounds(data)
        wide[name] = _data(lowest * ROOM_16, highest * ROOM_16, limits.get(name))
    return calibrate.TensorsData(found.calibration_method, wide)


def _data(lowest, highest, limits):
    import numpy as np
    from onnxruntime.quantization import calibrate

    if limits:
        lowest, highest = max(lowest, limits[0]), min(highest, limits[1])
    return calibrate.TensorData(lowest=np.array(lowest, np.float32), highest=np.array(highest, np.float32))


def bounds(data):
    """`(lowest, highest)` of a calibrated tensor; zero is always among them."""
    lowest, highest = (float(bound.reshape(-1)[0]) for bound in data.range_value)
    return min(lowest, 0.0), max(highest, 0.0)
