"""Means and variances in a form that 16 bits can hold.

Exporters write a mean as a sum times 1/n, and a variance as E[x²] - E[x]²: flax and TensorFlow do so for each
normalisation. In half precision the sum of squares passes 65504, and the difference of two nearly equal numbers keeps
no digits. Here the same mean is ReduceMean(x), and the same variance ReduceMean((x - mean)²). What only infinity
decides, such as Max(x, -inf), is left out: a quantizer finds no scale for it.
"""
import math

from worker.stages.graph_edits import copies, prune, unique
from worker.stages.inferred import infer_values
from worker.stages.inspect import describe

_STANDARD = ("", "ai.onnx")
_NEUTRAL = {"Max": -math.inf, "Min": math.inf}
_ROUNDING = 1e-5  # of 1/n as float32


def settle(model):
    """Change the model's main graph in place; whether anything was changed."""
    graph = _Graph(model)
    changed = [_leave_out_infinity(graph), _write_means(graph), _write_variances(graph)]
    if any(changed):
        prune(model)
    return any(changed)


def _leave_out_infinity(graph):
    others = {}
    for node in graph.nodes("Max", "Min"):
        tensor, number, rank = graph.split(node)
        if number == _NEUTRAL[node.op_type] and node.output[0] not in graph.outputs and graph.keeps_shape(tensor, rank):
            others[node.output[0]] = tensor
    graph.read_instead(others)
    return bool(others)


def _write_means(graph):
    written = {}
    for node in graph.nodes("Mul", "Div"):
        tensor, number, rank = graph.split(node)
        reduction = graph.reduction(tensor, "ReduceSum") if number else None
        if reduction is None or not graph.keeps_shape(tensor, rank) or (
                node.op_type == "Div" and node.input[0] != tensor):
            continue
        source, axes, keepdims = reduction
        count = math.prod(graph.shape(source)[axis] for axis in axes)
        if math.isclose(count * (number if node.op_type == "Mul" else 1 / number), 1.0, rel_tol=_ROUNDING):
            written[node.output[0]] = [graph.mean(source, axes, keepdims, node.output[0])]
    graph.replace(written)
    return bool(written)


def _write_variances(graph):
    written = {}
    for node in graph.nodes("Sub"):
        of_squares, mean = graph.reduction(node.input[0], "ReduceMean"), graph.squared(node.input[1])
        source = of_squares and graph.squared(of_squares[0])
        if not source or not mean or graph.reduction(mean, "ReduceMean") != (source, *of_squares[1:]):
            continue
        made, (_, axes, keepdims) = node.output[0], of_squares
        middle, apart, squares = (unique(f"{made}_{part}", graph.names) for part in ("mean", "apart", "squares"))
        written[made] = [graph.mean(source, axes, 1, middle), graph.make("Sub", [source, middle], apart),
                         graph.make("Mul", [apart, apart], squares), graph.mean(squares, axes, keepdims, made)]
    graph.replace(written)
    return bool(written)


class _Graph:
    """The main graph by names."""

    def __init__(self, model):
        from onnx import TensorProto

        self._model, self._values = model, None
        self._opset = max((entry.version for entry in model.opset_import if entry.domain in _STANDARD), default=1)
        self.outputs = {value.name for value in model.graph.output}
        self.names = {name for node in model.graph.node for name in (*node.input, *node.output, node.name)}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer
                           if tensor.data_location != TensorProto.EXTERNAL}
        self._index()

    def nodes(self, *kinds):
        return [node for node in self._model.graph.node if node.op_type in kinds and node.domain in _STANDARD]

    def shape(self, name):
        """The static sizes, or None."""
        if self._values is None:
            self._values = infer_values(self._model)
        if name not in self._values:
            return None
        shape = describe(self._values[name])["shape"]
        return shape if shape is not None and all(isinstance(dim, int) for dim in shape) else None

    def split(self, node):
        """`(tensor, number, the number's dimensions)` of a node that takes a tensor and a constant of one value;
        `("", None, 0)` of others."""
        for place, name in enumerate(node.input[:2] if len(node.input) == 2 else ()):
            array = self._constant(name)
            if array is not None and array.size == 1 and array.dtype.kind == "f":
                return node.input[1 - place], float(array.ravel()[0]), array.ndim
        return "", None, 0

    def keeps_shape(self, tensor, rank):
        """Whether a constant of so many dimensions leaves the tensor the shape that it has."""
        return rank == 0 or rank <= len(self.shape(tensor) or ())

    def reduction(self, name, kind):
        """`(tensor, axes, keepdims)` of the reduction of this kind that makes `name`, the axes ascending; or None."""
        node = self._makers.get(name)
        if node is None or node.op_type != kind or (shape := self.shape(node.input[0])) is None:
            return None
        given = {attribute.name: attribute for attribute in node.attribute}
        axes = list(given["axes"].ints) if "axes" in given else []
        if len(node.input) > 1 and node.input[1]:
            array = self._constant(node.input[1])
            axes = [] if array is None else [int(axis) for axis in array.ravel()]
        if not axes:
            return None
        keepdims = given["keepdims"].i if "keepdims" in given else 1
        return node.input[0], sorted(axis % len(shape) for axis in axes), keepdims

    def squared(self, name):
        """The tensor whose square this is, or None."""
        node = self._makers.get(name)
        if node is None or node.op_type not in ("Mul", "Pow"):
            return None
        if node.op_type == "Mul":
            return node.input[0] if node.input[0] == node.input[1] else None
        tensor, number, rank = self.split(node)
        return tensor if number == 2 and tensor == node.input[0] and self.keeps_shape(tensor, rank) else None

    def make(self, kind, inputs, output, **attributes):
        from onnx import helper

        self.names.add(output)
        return helper.make_node(kind, inputs, [output], name=unique(output, self.names), **attributes)

    def mean(self, tensor, axes, keepdims, output):
        from onnx import TensorProto, helper

        if self._opset < 18:
            return self.make("ReduceMean", [tensor], output, axes=axes, keepdims=keepdims)
        name = unique(f"{output}_axes", self.names)
        constant = helper.make_tensor(name, TensorProto.INT64, [len(axes)], axes)
        self._model.graph.initializer.append(constant)
        self._constants[name] = constant
        return self.make("ReduceMean", [tensor, name], output, keepdims=keepdims)

    def replace(self, written):
        """Put others in place of the nodes that make these values, `{value: the nodes}`."""
        kept = [other for node in self._model.graph.node
                for other in (written.get(node.output[0], [node]) if node.output else [node])]
        kept = copies(kept)
        del self._model.graph.node[:]
        self._model.graph.node.extend(kept)
        self._index()

    def read_instead(self, others):
        """Let nodes read other values, `{value: the other one}`."""
        for node in self._model.graph.node:
            for place, name in enumerate(node.input):
                while name in others:
                    name = others[name]
                node.input[place] = name

    def _constant(self, name):
        from onnx import numpy_helper

        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def _index(self):
        self._makers = {name: node for node in self._model.graph.node for name in node.output}
