"""Which activations need 16 bits: each is rounded to 8 bits by itself, and what that does to the outputs is measured.

The model that measures is the quantized one with 16-bit activations, whose scales and zero points are inputs: one
session runs all trials. Most of the error comes from few tensors; as many get 16 bits as bring what is left, measured
with all others in 8 bits, below a bound.
"""
from math import ceil

from worker.platforms.qualcomm.cpu import open_on_cpu
from worker.platforms.qualcomm.ranges import bounds
from worker.stages.graph import Graph, value_shapes

# Of an output's squares, what 8-bit activations may add; the simulated NPU adds several times what ONNX Runtime does.
ENOUGH = 0.0005
_DOUBT = 10.0  # what few values tell is doubtful: the error counts (1 + _DOUBT / sqrt(values)) times
SAMPLES = 4  # as many of the set as are tried
_MAX_ELEMENTS = 1e10  # that all trials may compute: a minute; a larger model's activations are tried several at once
_SMALL = 64  # an activation of so small a part of the largest has 16 bits for nothing, and room for its outliers
_SUFFIX = "_scale"


def find(model, path, ranges, feeds, threads, told):
    """The names of the activations for 16 bits, those that cost most first.

    `model` is the quantized one with 16-bit activations; it is written to `path`. `ranges` are the calibrated ones.
    `feeds` are samples of the calibration set. `told(done, total)` hears of the progress.
    """
    trials = _Trials(model, path, ranges, feeds, threads)
    if trials.error(trials.names) <= ENOUGH:
        return []
    free = trials.small()
    groups = trials.groups([name for name in trials.names if name not in free])
    errors = []
    for done, group in enumerate(groups, 1):
        errors.append(trials.error(group))
        told(done, len(groups))
    order = sorted(range(len(groups)), key=lambda index: -errors[index] / trials.elements(groups[index]) ** 0.5)
    ordered = [groups[index] for index in order]
    few, many = 0, len(ordered)  # the least number of groups whose 16 bits are enough lies in few..many
    while few < many:
        half = (few + many) // 2
        if trials.error([name for group in ordered[half:] for name in group]) <= ENOUGH:
            many = half
        else:
            few = half + 1
    return free + [name for group in ordered[:few] for name in group]


class _Trials:
    """`names` are those of the activations, in the order of the graph; one stands for all that share its scale."""

    def __init__(self, model, path, ranges, feeds, threads):
        graph = Graph(model)
        shapes = value_shapes(model)
        self._eight, self._sizes = {}, {}
        for node in model.graph.node:
            name = node.input[1].removesuffix(_SUFFIX) if node.op_type == "QuantizeLinear" else None
            if name is None or name not in ranges or node.input[1] not in graph.constants:
                continue
            self._sizes[name] = self._sizes.get(name, 0) + _count(shapes.get(node.output[0]))
            if name not in self._eight:
                self._eight[name] = self._make_eight(graph, node, ranges[name])
        self.names = list(self._eight)
        self._feeds = feeds
        self._session = open_on_cpu(model, path, threads)
        self._expected = [self._session.run(None, feed) for feed in feeds]

    @staticmethod
    def _make_eight(graph, node, data):
        """What to feed for 8 bits; makes the node's scale and zero point inputs."""
        import numpy as np
        from onnx import helper

        lowest, highest = bounds(data)
        scale = max(highest - lowest, 1e-4) / 255
        values = np.array(scale, np.float32), np.array(round(-lowest / scale), np.uint16)
        for name in node.input[1:3]:
            graph.graph.input.append(helper.make_tensor_value_info(name, graph.constants[name].data_type, []))
        return dict(zip(node.input[1:3], values))

    def elements(self, names):
        return max(1, sum(self._sizes[name] for name in names))

    def small(self):
        """The activations that are next to nothing beside the largest: pooled values, and what decides at the end."""
        largest = max(self._sizes.values(), default=0)
        return [name for name in self.names if self._sizes[name] * _SMALL <= largest]

    def groups(self, names):
        """The activations that are tried together: one at a time where time allows."""
        possible = max(1.0, _MAX_ELEMENTS / (self.elements(self.names) * len(self._feeds)))
        size = ceil(len(names) / possible)
        return [names[start:start + size] for start in range(0, len(names), size)]

    def error(self, names):
        """The worst output's squared error, relative to its squares, with these activations in 8 bits; see _DOUBT."""
        import numpy as np

        eight = {key: value for name in names for key, value in self._eight[name].items()}
        squares = np.zeros((2, len(self._expected[0])))
        for feed, expected in zip(self._feeds, self._expected):
            for index, (wanted, given) in enumerate(zip(expected, self._session.run(None, {**feed, **eight}))):
                wanted = wanted.astype(np.float64)
                squares[:, index] += ((given - wanted) ** 2).sum(), (wanted**2).sum()
        values = np.array([len(self._expected) * max(1, output.size) for output in self._expected[0]])
        return float((squares[0] / np.maximum(squares[1], 1e-30) * (1 + _DOUBT / np.sqrt(values))).max())


def _count(shape):
    from math import prod

    return prod(shape) if shape and None not in shape else 0
