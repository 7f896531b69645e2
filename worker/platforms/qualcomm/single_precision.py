"""A model of half-precision numbers in single precision, for the quantizer.

The quantizer gives a scale the type of what it scales, and below opset 19 ONNX has no scale of half precision. What the
model takes and gives keeps its own type, and becomes single precision on the NPU.
"""
from worker.stages.graph import Graph, value_types
from worker.stages.onnx_model import walk_below, walk_graphs, walk_tensors, walk_values


def widen(model):
    """Make all half-precision numbers inside the model single ones, in place; whether there were any."""
    from onnx import TensorProto

    half = TensorProto.FLOAT16
    values = [value for value in walk_values(model) if value.type.tensor_type.elem_type == half]
    tensors = [tensor for _, tensor in walk_tensors(model) if tensor.data_type == half]
    if not values and not tensors:
        return False
    inputs, outputs = ([value.name for value in ports if value.type.tensor_type.elem_type == half]
                       for ports in (model.graph.input, model.graph.output))
    for tensor in tensors:
        _widen_tensor(tensor)
    for value in values:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    for inner, _ in walk_graphs(model):
        for node in inner.node:
            for attribute in node.attribute:  # `to` of a Cast; `dtype` of what makes numbers
                if attribute.name in ("to", "dtype") and attribute.i == half:
                    attribute.i = TensorProto.FLOAT
    _keep_own_types(model, inputs, outputs)
    _drop_idle_casts(model)
    return True


def _widen_tensor(tensor):
    import numpy as np
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _drop_idle_casts(model):
    """A Cast between the two precisions has nothing to do any more; the quantizer would make a cut of it."""
    graph, types = Graph(model), value_types(model)
    for node in list(graph.graph.node):
        data, result = node.input[0] if node.input else "", node.output[0]
        if (node.op_type == "Cast" and result not in graph.outputs and data in types
                and types[data] == types.get(result)):
            graph.remove(node)
            _rename_reads(graph.graph, result, data)


def _keep_own_types(model, inputs, outputs):
    """Casts at the graph's half-precision inputs and outputs."""
    from onnx import TensorProto

    graph = Graph(model)
    for name in outputs:
        inner = graph.unique(name + "_single")
        _rename_reads(graph.graph, name, inner)
        for node in graph.graph.node:
            node.output[:] = [inner if output == name else output for output in node.output]
        for tensor in graph.graph.initializer:
            tensor.name = inner if tensor.name == name else tensor.name
        graph.insert(len(graph.graph.node), "Cast", [inner], name, to=TensorProto.FLOAT16)
    for name in inputs:
        inner = graph.unique(name + "_single")
        _rename_reads(graph.graph, name, inner)
        graph.insert(0, "Cast", [name], inner, to=TensorProto.FLOAT)
    for value in (*graph.graph.input, *graph.graph.output):
        if value.name in (inputs + outputs):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16


def _rename_reads(graph, name, new):
    """Let every node, those of subgraphs too, read `new` instead of `name`."""
    for inner, _ in walk_below(graph):
        for node in inner.node:
            node.input[:] = [new if source == name else source for source in node.input]
