"""What an operator with weights reads for each value that it writes, as rows of numbers.

To `rounding` a convolution and a matrix product are the same: in each of `groups`, [positions, columns] times
[columns, rows].
"""
from abc import ABC, abstractmethod
from math import prod

_POSITIONS = 512  # of a sample that are looked at


def find_reads(graph, node):
    """How the node reads, if its second input is a weight of a form that is known; else None."""
    from onnx import helper

    if len(node.input) < 2 or node.input[1] not in graph.constants or node.input[0] in graph.constants:
        return None
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    shape = tuple(graph.constants[node.input[1]].dims)
    if node.op_type == "Conv" and attributes.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID"):
        return Convolution(node, shape, attributes)
    if node.op_type == "Gemm" and not attributes.get("transA", 0):
        return Product(node, shape, bool(attributes.get("transB", 0)))
    return Product(node, shape, False) if node.op_type == "MatMul" and len(shape) == 2 else None


class Reads(ABC):
    """`source` is the value that is read; `columns` of it make one value."""

    groups = 1
    columns = 0

    def __init__(self, node):
        self.node, self.source = node, node.input[0]

    def is_like(self, other):
        """Whether both read a weight in the same way."""
        return self.node.op_type == other.node.op_type and list(self.node.attribute) == list(other.node.attribute)

    @abstractmethod
    def view(self, weight):
        """The weight as [groups, rows, columns]."""

    @abstractmethod
    def unview(self, array):
        """The weight again, of what `view` gives."""

    @abstractmethod
    def read(self, value, random):
        """Some positions of what is read, [groups, positions, columns], in double precision."""


class Product(Reads):
    def __init__(self, node, shape, transposed):
        super().__init__(node)
        self._transposed = transposed
        self.columns = shape[1 if transposed else 0]

    def view(self, weight):
        return (weight if self._transposed else weight.T)[None]

    def unview(self, array):
        return array[0] if self._transposed else array[0].T

    def read(self, value, random):
        rows = value.reshape(-1, self.columns)
        return rows[_choose(len(rows), random)].astype("float64")[None]


class Convolution(Reads):
    def __init__(self, node, shape, attributes):
        super().__init__(node)
        self._shape, spatial = shape, len(shape) - 2
        self.groups, self.columns = attributes.get("group", 1), prod(shape[1:])
        self._strides = attributes.get("strides") or [1] * spatial
        self._dilations = attributes.get("dilations") or [1] * spatial
        self._pads = attributes.get("pads") or [0] * 2 * spatial

    def view(self, weight):
        return weight.reshape(self.groups, self._shape[0] // self.groups, self.columns)

    def unview(self, array):
        return array.reshape(self._shape)

    def read(self, value, random):
        import numpy as np

        kernel, spatial = self._shape[2:], len(self._shape) - 2
        padded = np.pad(value, [(0, 0), (0, 0), *zip(self._pads[:spatial], self._pads[spatial:])])
        reach = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, self._dilations)]
        windows = np.lib.stride_tricks.sliding_window_view(padded, reach, tuple(range(2, 2 + spatial)))
        windows = np.moveaxis(windows[(slice(None), slice(None), *(slice(None, None, step) for step in self._strides),
                                       *(slice(None, None, step) for step in self._dilations))], 1, 1 + spatial)
        positions = windows.shape[:1 + spatial]
        chosen = np.unravel_index(_choose(prod(positions), random), positions)
        return windows[chosen].reshape(len(chosen[0]), self.groups, self.columns).swapaxes(0, 1).astype(np.float64)


def _choose(count, random):
    import numpy as np

    return np.arange(count) if count <= _POSITIONS else np.sort(random.choice(count, _POSITIONS, replace=False))
