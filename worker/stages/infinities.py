"""Attention masks without infinity, which half precision of NPUs does not hold.

A mask adds -inf to what a Softmax is not to look at, and asks by comparing with -inf whether a row is masked whole:
such a row answers zeros. An NPU has a great number in its place, the comparison fails, and the row answers an average.
"""
_FLOATS = (1, 10)  # ONNX's element types float and float16
# Hand on what they read; and where an infinity ends: it is a zero after the one, a flag after the other.
_HANDING_ON = ("Add", "Cast", "CastLike", "Concat", "Expand", "Identity", "Max", "Pad", "ReduceMax", "Reshape", "Slice",
               "Squeeze", "Sum", "Transpose", "Unsqueeze", "Where")
_ENDS = ("Equal", "Softmax")
# Half precision holds both, and an exponential makes zero of either.
_MASKED, _BOUND = -40000.0, -30000.0


def bound_masks(graph):
    """Write a finite number for -inf in a `Graph` that compares with it; how many comparisons there were."""
    import numpy as np

    if not any(node.op_type == "Equal" for node in graph.graph.node):
        return 0
    graph.fold_casts()
    infinite = {name: graph.array(name) for name, tensor in graph.constants.items()
                if tensor.data_type in _FLOATS and not tensor.external_data
                and np.isneginf(graph.array(name)).any()}
    found = [(node, index) for node in graph.graph.node if node.op_type == "Equal"
             for index, name in enumerate(node.input)
             if name in infinite and np.isneginf(infinite[name]).all() and node.input[1 - index] not in infinite]
    if not found or not all(_ends_inside(graph, name) for name in infinite):
        return 0
    bounds, masks = {}, {}
    for node, index in found:
        name = node.input[index]
        if name not in bounds:
            bounds[name] = graph.constant(f"{name}_bound", np.full_like(infinite[name], _BOUND))
        if index == 0:
            node.input[:] = [node.input[1], node.input[0]]
        graph.read_instead(node, 1, bounds[name])
        node.op_type = "Less"
    for node in graph.graph.node:
        for index, name in enumerate(node.input):
            if name in infinite:
                if name not in masks:
                    masks[name] = graph.constant(f"{name}_finite", np.where(
                        np.isneginf(infinite[name]), infinite[name].dtype.type(_MASKED), infinite[name]))
                graph.read_instead(node, index, masks[name])
    return len(found)


def _ends_inside(graph, name):
    """Whether nothing but flags and shares of a Softmax comes of the constant."""
    waiting, seen = [name], {name}
    while waiting:
        current = waiting.pop()
        if current in graph.outputs:
            return False
        for node in graph.graph.node:
            if current not in node.input or node.op_type in _ENDS:
                continue
            if node.op_type not in _HANDING_ON:
                return False
            waiting += [output for output in node.output if output not in seen]
            seen.update(node.output)
    return True
