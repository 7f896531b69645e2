"""Averages over windows that reach beyond the edge, as convolutions.

onnxruntime-qnn 2.7.0 makes nonsense of an AveragePool with padding or with ceil_mode (a window of 3 with a padding of
1: cosine 0.82; others end the simulator), and refuses one with dilations. A convolution of each channel with equal
weights adds up the same values; where a window has fewer of them, a factor for its place makes the average of these.
"""
from math import prod

from worker.stages.graph import value_shapes, value_types

_RANK = 4  # [batch, channels, height, width]
_FLOAT = 1  # ONNX's element type


def spell_out_pools(graph):
    """Replace each such AveragePool whose shape is known; how many there were."""
    nodes = [node for node in graph.graph.node if node.op_type == "AveragePool"]
    shapes, types = (value_shapes(graph.model), value_types(graph.model)) if nodes else ({}, {})
    found = 0
    for node in nodes:
        given = shapes.get(node.input[0])
        if given is not None and len(given) == _RANK and None not in given:
            windows = [_Axis(node, axis, given[2 + axis]) for axis in range(_RANK - 2)]
            if any(window.is_beyond() for window in windows):
                _replace(graph, node, given[1], windows, types.get(node.input[0], _FLOAT))
                found += 1
    return found


class _Axis:
    """The windows along one axis."""

    def __init__(self, node, axis, size):
        given = {attribute.name: attribute for attribute in node.attribute}

        def read(name, index, otherwise):
            return given[name].ints[index] if name in given and len(given[name].ints) > index else otherwise

        self.kernel, self.stride = given["kernel_shape"].ints[axis], read("strides", axis, 1)
        self.dilation = read("dilations", axis, 1)
        self._size, self._counts_pads = size, "count_include_pad" in given and given["count_include_pad"].i
        extent = self.dilation * (self.kernel - 1) + 1
        auto = given["auto_pad"].s if "auto_pad" in given else b"NOTSET"
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            self.count = -(-size // self.stride)
            both = max((self.count - 1) * self.stride + extent - size, 0)
            self._begin = both // 2 if auto == b"SAME_UPPER" else both - both // 2
            self._end = both - self._begin
        else:
            explicit = auto == b"NOTSET"
            self._begin, self._end = (read("pads", axis, 0), read("pads", axis + 2, 0)) if explicit else (0, 0)
            left = size + self._begin + self._end - extent
            self.count = left // self.stride + 1
            ceiled = -(-left // self.stride) + 1
            # A window that would begin in the padding at the end is none.
            if "ceil_mode" in given and given["ceil_mode"].i and (ceiled - 1) * self.stride < size + self._begin:
                self.count = ceiled
        self.pads = self._begin, max((self.count - 1) * self.stride + extent - size - self._begin, 0)

    def is_beyond(self):
        return any(self.pads) or self.dilation != 1

    def counts(self):
        """How many values each window divides by."""
        first, last = (-self._begin, self._size + self._end) if self._counts_pads else (0, self._size)
        starts = [index * self.stride - self._begin for index in range(self.count)]
        return [sum(first <= start + step * self.dilation < last for step in range(self.kernel)) for start in starts]


def _replace(graph, node, channels, windows, kind):
    import numpy as np
    from onnx.helper import tensor_dtype_to_np_dtype

    dtype = tensor_dtype_to_np_dtype(kind)
    kernel = [window.kernel for window in windows]
    (data, *_), (output, *_) = node.input, node.output
    position = next(index for index, other in enumerate(graph.graph.node) if other is node)
    counts = np.multiply.outer(*(np.asarray(window.counts(), np.float64) for window in windows))
    factors = prod(kernel) / np.maximum(counts, 1)
    graph.remove(node)
    weights = graph.constant(output + "_equal", np.full((channels, 1, *kernel), 1 / prod(kernel), dtype))
    whole = (factors == 1).all()
    summed = output if whole else graph.unique(output + "_of_all")
    graph.insert(position, "Conv", [data, weights], summed, group=channels, kernel_shape=kernel,
                 strides=[window.stride for window in windows], dilations=[window.dilation for window in windows],
                 pads=[pad for side in (0, 1) for pad in (window.pads[side] for window in windows)])
    if not whole:
        by = graph.constant(output + "_by_count", factors.reshape(1, 1, *factors.shape).astype(dtype))
        graph.insert(position + 1, "Mul", [summed, by], output)
