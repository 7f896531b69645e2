"""Bias correction: rounded weights shift the mean of what an operator writes; its bias takes that back.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.2, with means
that are measured on the calibration set. They are most of what 8-bit weights cost the PP-OCR networks: with activations
of 16 bits it brings the detector from cosine 0.9947 to 0.9985, the angle classifier from 0.9934 to 0.9996.
"""
from worker.platforms.qualcomm.cpu import open_on_cpu
from worker.stages.graph import Graph

_OPERATORS = ("Conv", "ConvTranspose", "Gemm")
_AXES_AS_INPUT_OPSET = 18
_SHIFT = "_mean_of_rounding_error"


def correct(model, rounded, path, samples, threads):
    """Move the biases of `model`, in place; how many.

    `rounded` has the quantized weights, from `drafts.rounded_weights`. `path` is where the model that measures is
    written. `samples` yields the model's inputs, `{name: array}`.
    """
    graph = Graph(model)
    errors = {name: (weight.values() - graph.array(name)).astype("float32") for name, weight in rounded.items()}
    nodes = [node for node in graph.graph.node if len(node.input) > 1 and node.input[1] in errors
             and has_movable_bias(graph, node)]
    if not nodes:
        return 0
    shifts = _measure(model, nodes, errors, path, samples, threads)
    for node, shift in zip(nodes, shifts):
        beta = next((attribute.f for attribute in node.attribute if attribute.name == "beta"), 1.0)
        if beta:
            _move(graph, node, shift / beta)
    return len(nodes)


def has_movable_bias(graph, node):
    return node.op_type in _OPERATORS and (not _bias(node) or _bias(node) in graph.constants)


def flatten(graph):
    """Give the biases of Gemm one dimension. Over [1, N], beside a scale for each channel, the quantizer raises
    ValueError. The broadcast is the same."""
    for node in list(graph.graph.node):
        if node.op_type == "Gemm" and _bias(node) in graph.constants:
            dims = list(graph.constants[_bias(node)].dims)
            if len(dims) == 2 and dims[0] == 1:
                flat = graph.constant(f"{_bias(node)}_flat", graph.array(_bias(node)).reshape(dims[1]))
                graph.rewire(node, [*node.input[:2], flat], node.output[0])
    graph.drop_unused_constants()


def _bias(node):
    return node.input[2] if len(node.input) > 2 else ""


def _measure(model, nodes, errors, path, samples, threads):
    """The mean over all samples of what each node would write, channel by channel, with the errors for weights."""
    import numpy as np
    import onnx

    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    graph = Graph(measuring)
    for index, node in enumerate(nodes):
        twin = graph.graph.node.add()
        twin.CopyFrom(node)
        twin.name, name = graph.unique(node.name + _SHIFT), graph.unique(f"{index}{_SHIFT}")
        del twin.input[2:]
        twin.input[1], twin.output[0] = graph.constant(node.input[1] + _SHIFT, errors[node.input[1]]), name + "_of"
        axes = [axis for axis in range(errors[node.input[1]].ndim) if axis != 1]
        if graph.opset() >= _AXES_AS_INPUT_OPSET:
            axes = graph.constant(name + "_axes", np.array(axes, np.int64))
            graph.insert(len(graph.graph.node), "ReduceMean", [name + "_of", axes], name, keepdims=0)
        else:
            graph.insert(len(graph.graph.node), "ReduceMean", [name + "_of"], name, keepdims=0, axes=axes)
        graph.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session, names = open_on_cpu(measuring, path, threads), [value.name for value in graph.graph.output][-len(nodes):]
    return [np.mean(means, axis=0) for means in zip(*(session.run(names, feed) for feed in samples))]


def _move(graph, node, shift):
    import numpy as np

    name = _bias(node)
    bias = graph.array(name) if name else np.zeros(shift.shape, np.float32)
    del node.input[2:]
    node.input.append(graph.constant(f"{node.output[0]}_corrected_bias", (bias - shift).astype(np.float32)))
