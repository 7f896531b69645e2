"""Small changes of an ONNX model's main graph."""
from collections import Counter

from worker.stages.inferred import infer_values

_PLAIN_TYPES = {1, 2, 3, 6, 7, 9, 10, 11}  # ONNX's element types that NumPy has too
_SMALL_BYTES = 1 << 16


class Graph:
    """The graph with an index of its names; change its nodes through it alone. Subgraphs are left as they are.

    `producers` is `{value: the node that writes it}`.
    """

    def __init__(self, model):
        graph = model.graph
        self.model, self.graph = model, graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self._names = {name for node in graph.node for name in (node.name, *node.input, *node.output)}
        self._names |= set(self.constants) | {value.name for value in graph.input} | self.outputs
        self.producers = {name: node for node in graph.node for name in node.output}
        self._reads = Counter(name for node in graph.node for name in node.input)
        self._with_subgraphs = sum(map(_has_subgraph, graph.node))

    def opset(self):
        return next((entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), 1)

    def unique(self, wanted):
        """`wanted`, or with a number if there is something of that name."""
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def constant(self, wanted, array):
        """The name of a new initialiser."""
        from onnx import numpy_helper

        name = self.unique(wanted)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        self.constants[name] = self.graph.initializer[-1]
        return name

    def array(self, name):
        from onnx import numpy_helper

        return numpy_helper.to_array(self.constants[name])

    def insert(self, position, operator, inputs, output, **attributes):
        from onnx import helper

        self.graph.node.insert(position, helper.make_node(operator, inputs, [output],
                                                          self.unique(f"{operator}_{output}"), **attributes))
        self.producers[output] = self.graph.node[position]
        self._reads.update(inputs)

    def position(self, node):
        return next(index for index, other in enumerate(self.graph.node) if other is node)

    def remove(self, node):
        self._reads.subtract(node.input)
        for name in node.output:
            self.producers.pop(name, None)  # "" stands for each that is left out
        self.graph.node.remove(node)

    def rewire(self, node, inputs, output):
        """Give a node of one output other inputs, and another name to what it writes."""
        self._reads.subtract(node.input)
        del self.producers[node.output[0]]
        node.input[:], node.output[0] = inputs, output
        self._reads.update(inputs)
        self.producers[output] = node

    def read_instead(self, node, index, name):
        """Give a node another input in one place."""
        self._reads.subtract([node.input[index]])
        node.input[index] = name
        self._reads.update([name])

    def count_reads(self, name):
        """How often a value is read; each node with subgraphs counts, it may read it inside."""
        return self._reads[name] + self._with_subgraphs

    def redirect_readers(self, name, new):
        for node in self.graph.node:
            for index, source in enumerate(node.input):
                if source == name:
                    node.input[index] = new
        self._reads[new] += self._reads.pop(name, 0)

    def lift_constants(self):
        """Make initialisers of the tensors of Constant nodes."""
        for node in [node for node in self.graph.node if node.op_type == "Constant"]:
            for attribute in node.attribute:
                name = node.output[0]
                if attribute.name == "value" and name not in self.outputs:
                    self.remove(node)
                    self.constants[name] = self.graph.initializer.add()
                    self.constants[name].CopyFrom(attribute.t)
                    self.constants[name].name = name
                    break

    def fold_casts(self):
        """Make initialisers of what a Cast makes of small constants, which passes over a whole model may leave."""
        from onnx.helper import tensor_dtype_to_np_dtype

        if self._with_subgraphs:  # they may read what is folded
            return
        for node in [node for node in self.graph.node if node.op_type == "Cast" and node.input[0] in self.constants]:
            name, source = node.output[0], self.constants[node.input[0]]
            kind = next(attribute.i for attribute in node.attribute if attribute.name == "to")
            if name in self.outputs or source.external_data or not {source.data_type, kind} <= _PLAIN_TYPES or len(
                    source.raw_data) > _SMALL_BYTES:
                continue
            values = self.array(node.input[0]).astype(tensor_dtype_to_np_dtype(kind))
            self.remove(node)
            self.redirect_readers(name, self.constant(name + "_folded", values))

    def drop_unused_constants(self):
        kept = [tensor for tensor in self.graph.initializer
                if self.count_reads(tensor.name) or tensor.name in self.outputs]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def name_nodes(self):
        """Give each node without a name one, so that a refusal can name it."""
        for node in self.graph.node:
            node.name = node.name or self.unique(f"{node.op_type}_{node.output[0]}")


class Instead:
    """Nodes that take the place of one, each before it; `end` writes what it wrote."""

    def __init__(self, graph, node):
        self._graph, self._node = graph, node

    def constant(self, what, array):
        return self._graph.constant(f"{self._node.output[0]}_{what}", array)

    def add(self, operator, inputs, what, **attributes):
        """The name of what a new node writes."""
        name = self._graph.unique(f"{self._node.output[0]}_{what}")
        self._graph.insert(self._graph.position(self._node), operator, inputs, name, **attributes)
        return name

    def end(self, operator, inputs, **attributes):
        at = self._graph.position(self._node)
        output = self._node.output[0]
        self._graph.remove(self._node)
        self._graph.insert(at, operator, inputs, output, **attributes)


class Known:
    """Shapes and types of a `Graph`'s values, inferred where they are needed."""

    def __init__(self, graph):
        self._graph, self._shapes, self._types = graph, None, None

    def shape(self, name):
        if name in self._graph.constants:
            return list(self._graph.constants[name].dims)
        if self._shapes is None:
            self._shapes = value_shapes(self._graph.model)
        return self._shapes.get(name)

    def type(self, name):
        if name in self._graph.constants:
            return self._graph.constants[name].data_type
        if self._types is None:
            self._types = value_types(self._graph.model)
        return self._types.get(name, 0)


def value_shapes(model):
    """`{value: its dimensions}` where that can be inferred; an open one is None."""
    return {value.name: [dim.dim_value if dim.HasField("dim_value") else None
                         for dim in value.type.tensor_type.shape.dim]
            for value in infer_values(model).values() if value.type.tensor_type.HasField("shape")}


def value_types(model):
    """`{value: its ONNX element type}` where that can be inferred."""
    return {value.name: value.type.tensor_type.elem_type for value in infer_values(model).values()}


def _has_subgraph(node):
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
