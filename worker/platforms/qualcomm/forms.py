"""Operators in the forms that the NPU takes, where the same is written in several. What they compute stays.

Seen with onnxruntime-qnn 2.7.0: a Gemm with factors, a minimum of one value and a power with a whole exponent are
refused; indices that count from the end are read as zeros, where they are no constants. See `resizing` too.
"""
from worker.stages.graph import Known
from worker.stages.resizing import spell_out_resize

# What these make counts from the start, and those hand it on.
_COUNTING = {"TopK", "ArgMax", "ArgMin", "NonMaxSuppression"}
_HANDING_ON = {"Cast", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose",
               "Unsqueeze"}
_OF_SEVERAL = ("Max", "Mean", "Min", "Sum")
_FLOATS, _WHOLE = (1, 10, 11), (2, 3, 4, 5, 6, 7, 12, 13)  # ONNX's element types


def change_forms(graph):
    """How many nodes were changed."""
    nodes = [(node, change) for node in graph.graph.node for change in [_CHANGES.get(node.op_type)] if change]
    if not nodes:
        return 0
    known = Known(graph)
    return sum(change(graph, node, known) for node, change in nodes)


def _of_one(graph, node, known):
    if len(node.input) != 1:
        return False
    node.op_type = "Identity"
    return True


def _gemm(graph, node, known):
    """`alpha A B + beta C`: the factors go into constants, or become multiplications."""
    changed = False
    for name, index in (("alpha", 1), ("beta", 2)):
        factor = next((attribute.f for attribute in node.attribute if attribute.name == name), 1.0)
        kept = [attribute for attribute in node.attribute if attribute.name != name]
        if factor == 1.0:
            continue
        if len(node.input) > index and node.input[index]:
            if known.type(node.input[index]) not in _FLOATS:
                continue
            _multiply(graph, node, index, factor, known)
        del node.attribute[:]
        node.attribute.extend(kept)
        changed = True
    return changed


def _multiply(graph, node, index, factor, known):
    import numpy as np
    from onnx.helper import tensor_dtype_to_np_dtype

    source = node.input[index]
    scaled = graph.unique(f"{node.output[0]}_{source}_scaled")
    if source in graph.constants:
        values = graph.array(source)
        scaled = graph.constant(scaled, (values.astype(np.float64) * factor).astype(values.dtype))
    else:
        by = graph.constant(scaled + "_by", np.asarray(factor, tensor_dtype_to_np_dtype(known.type(source))))
        graph.insert(graph.position(node), "Mul", [source, by], scaled)
    graph.read_instead(node, index, scaled)


def _pow(graph, node, known):
    """An exponent of the base's type."""
    base, exponent = (known.type(name) for name in node.input)
    if base not in _FLOATS or exponent not in _WHOLE:
        return False
    source = node.input[1]
    cast = graph.unique(f"{node.output[0]}_{source}_float")
    if source in graph.constants:
        from onnx.helper import tensor_dtype_to_np_dtype

        cast = graph.constant(cast, graph.array(source).astype(tensor_dtype_to_np_dtype(base)))
    else:
        graph.insert(graph.position(node), "Cast", [source], cast, to=base)
    graph.read_instead(node, 1, cast)
    return True


def _elements(graph, node, known):
    """Indices that count from the start: `i + size` where `i` is below zero."""
    import numpy as np
    from onnx.helper import tensor_dtype_to_np_dtype

    data, indices = node.input[:2]
    shape, kind = known.shape(data), known.type(indices)
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    if not shape or not -len(shape) <= axis < len(shape) or shape[axis] is None or kind not in _WHOLE:
        return False
    if _counts_from_start(graph, indices):
        return False
    dtype, size = tensor_dtype_to_np_dtype(kind), shape[axis]
    if indices in graph.constants:
        values = graph.array(indices)
        if (values >= 0).all():
            return False
        counted = graph.constant(indices + "_counted", np.where(values < 0, values + size, values).astype(dtype))
    else:
        below, added, counted = (graph.unique(f"{node.output[0]}_{indices}_{name}")
                                 for name in ("below", "added", "counted"))
        at = graph.position(node)
        graph.insert(at, "Less", [indices, graph.constant(below + "_zero", np.asarray(0, dtype))], below)
        graph.insert(at + 1, "Add", [indices, graph.constant(added + "_size", np.asarray(size, dtype))], added)
        graph.insert(at + 2, "Where", [below, added, indices], counted)
    graph.read_instead(node, 1, counted)
    return True


def _counts_from_start(graph, name):
    node = graph.producers.get(name)
    while node is not None and node.op_type in _HANDING_ON:
        node = graph.producers.get(node.input[0])
    return node is not None and node.op_type in _COUNTING


_CHANGES = {**dict.fromkeys(_OF_SEVERAL, _of_one), "Gemm": _gemm, "Pow": _pow, "GatherElements": _elements,
            "Resize": spell_out_resize, "ScatterElements": _elements}
