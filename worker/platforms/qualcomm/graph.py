"""Small changes of an ONNX model's main graph."""
from collections import Counter

from worker.stages.inferred import infer_values


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

    def drop_unused_constants(self):
        kept = [tensor for tensor in self.graph.initializer
                if self.count_reads(tensor.name) or tensor.name in self.outputs]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)

    def name_nodes(self):
        """Give each node without a name one, so that a refusal can name it."""
        for node in self.graph.node:
            node.name = node.name or self.unique(f"{node.op_type}_{node.output[0]}")


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
