"""Fewer operators with the same meaning, before the quantizer puts a rounding after each.

ONNX Runtime's own passes fold a batch normalisation or a full-sized addition into a convolution right before it. What
is left is folded here: whatever scales and shifts the channels of a convolution. A batch normalisation that cannot be
folded becomes Mul and Add: the quantizer passes over it, and the compiler would then cut the model around it.
"""
from worker.stages.graph import value_shapes

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_BROADCASTING_OPSET = 7


def fold_affine(graph):
    """Fold batch normalisations, multiplications by and additions of constants into the convolutions before them; how
    many operators are gone."""
    count = len(graph.graph.node)
    if graph.opset() >= _BROADCASTING_OPSET:
        shapes = None
        for node in list(graph.graph.node):  # in their order, so that a chain after a convolution goes in one pass
            affine = _affine(graph, node)
            if affine is None:
                continue
            data, scale, shift = affine
            convolution = _convolution_before(graph, data)
            if convolution is not None and _fold(graph, convolution, node, scale, shift):
                continue
            if node.op_type == "BatchNormalization":
                shapes = value_shapes(graph.model) if shapes is None else shapes
                if data in shapes:
                    _replace(graph, node, scale, shift, len(shapes[data]))
    return count - len(graph.graph.node)


def _affine(graph, node):
    """`(data, scale, shift)` of a node that is `y = scale * data + shift` for each channel or in all, in double
    precision; None for another."""
    import numpy as np

    if node.op_type == "BatchNormalization":
        training = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
        if training or any(node.output[1:]) or not all(name in graph.constants for name in node.input[1:]):
            return None
        epsilon = next((attribute.f for attribute in node.attribute if attribute.name == "epsilon"), 1e-5)
        gamma, beta, mean, variance = (graph.array(name).astype(np.float64) for name in node.input[1:5])
        scale = gamma / np.sqrt(variance + epsilon)
        return node.input[0], scale, beta - mean * scale
    if node.op_type not in ("Mul", "Add"):
        return None
    constant = next((name for name in node.input if name in graph.constants), None)
    data = next((name for name in node.input if name not in graph.constants), None)
    if constant is None or data is None:
        return None
    values = graph.array(constant).astype(np.float64)
    if values.size != 1 and values.size != max(values.shape[-3:-2] or (0,)):  # [C, 1, 1], [1, C, 1, 1]
        return None
    values = values.reshape(-1)
    return (data, values, np.zeros(1)) if node.op_type == "Mul" else (data, np.ones(1), values)


def _convolution_before(graph, name):
    """The convolution with constant weights whose output `name` nobody else reads; None where there is none."""
    if name in graph.outputs or graph.count_reads(name) != 1:
        return None
    node = graph.producers.get(name)
    if node is None or node.op_type not in _CONVOLUTIONS:
        return None
    return node if all(source in graph.constants for source in node.input[1:] if source) else None


def _fold(graph, convolution, node, scale, shift):
    """Put it into the convolution's weights and bias; False where it does not fit."""
    import numpy as np

    weights = graph.array(convolution.input[1])
    groups = next((attribute.i for attribute in convolution.attribute if attribute.name == "group"), 1)
    transposed = convolution.op_type == "ConvTranspose"  # [in, out / groups, …] instead of [out, in / groups, …]
    channels = weights.shape[1] * groups if transposed else weights.shape[0]
    if weights.ndim != 4 or {scale.size, shift.size} - {1, channels}:
        return False
    scale, shift = np.broadcast_to(scale, channels), np.broadcast_to(shift, channels)
    if transposed:  # the channels of a group's output belong to that group's inputs
        grouped = weights.reshape(groups, weights.shape[0] // groups, *weights.shape[1:])
        folded = (grouped * scale.reshape(groups, 1, weights.shape[1], 1, 1)).reshape(weights.shape)
    else:
        folded = weights * scale.reshape(-1, 1, 1, 1)
    if len(convolution.input) > 2 and convolution.input[2]:
        shift = shift + scale * graph.array(convolution.input[2])
    folded, shift = (graph.constant(f"{node.output[0]}_{name}", values.astype(weights.dtype))
                     for name, values in (("weight", folded), ("bias", shift)))
    output = node.output[0]
    graph.remove(node)
    graph.rewire(convolution, [convolution.input[0], folded, shift], output)
    return True


def _replace(graph, node, scale, shift, rank):
    dtype = graph.array(node.input[1]).dtype
    scale, shift = (values.reshape(-1, *[1] * (rank - 2)).astype(dtype) for values in (scale, shift))
    position = list(graph.graph.node).index(node)
    (data, *_), (output, *_) = node.input, node.output
    graph.remove(node)
    scaled = graph.unique(output + "_scaled")
    graph.insert(position, "Mul", [data, graph.constant(scaled + "_by", scale)], scaled)
    graph.insert(position + 1, "Add", [scaled, graph.constant(output + "_shift", shift)], output)
