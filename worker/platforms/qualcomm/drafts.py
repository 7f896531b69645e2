"""The weights of a quantized model, beside those of the model that it was made of."""


class Rounded:
    """A weight as the quantizer wrote it. `whole` are its integers; `scale` and `zero` broadcast over them."""

    def __init__(self, graph, node):
        import numpy as np

        self.whole, scale, zero = (graph.array(source) for source in node.input)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [-1 if index == axis % self.whole.ndim else 1 for index in range(self.whole.ndim)]
        self.scale, self.zero = (array.astype(np.float64).reshape(shape if array.size > 1 else ())
                                 for array in (scale, zero))

    def values(self):
        return (self.whole - self.zero) * self.scale


def rounded_weights(graph, draft):
    """`{weight of graph: Rounded}`, for those that `draft`, a graph of the same model, has as constant integers."""
    found = {}
    for node in draft.graph.node:
        name = node.input[0].removesuffix("_quantized") if node.input else ""
        if node.op_type == "DequantizeLinear" and node.input[0] in draft.constants and name in graph.constants:
            found[name] = Rounded(draft, node)
    return found


def take_weights(graph, rounded):
    """Let the model's weights be the rounded ones: quantizing it gives the same integers."""
    import numpy as np
    from onnx import numpy_helper

    for name, weight in rounded.items():
        graph.constants[name].CopyFrom(numpy_helper.from_array(weight.values().astype(np.float32), name))
