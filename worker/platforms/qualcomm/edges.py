"""Operators whose answer jumps where half precision has another value than the model.

Seen with onnxruntime-qnn 2.7.0: a GridSample that takes the nearest value rounds a half to another side than ONNX, so
the grid is rounded before it; a tangent is off by a third beside a pole, so the multiples of a right angle are taken
off before it, in parts that half precision holds.
"""
from math import pi

from worker.stages.graph import Instead, Known

_FLOATS = {1: "float32", 10: "float16"}  # ONNX's element types
_RANK = 4  # a volume is not taken in any form
_RIGHT_ANGLE = (1.5, 0.0703125, pi / 2 - 1.5703125)


def mend_edges(graph):
    """How many nodes were changed."""
    nodes = [node for node in graph.graph.node if node.op_type in _CHANGES]
    if not nodes:
        return 0
    known = Known(graph)
    return sum(_CHANGES[node.op_type](graph, node, known) for node in nodes)


def _grid_sample(graph, node, known):
    """With a grid that names the middles of the values before: what ONNX rounds to, half to even."""
    import numpy as np

    told = {attribute.name: attribute for attribute in node.attribute}
    shape, dtype = known.shape(node.input[0]), _FLOATS.get(known.type(node.input[1]))
    if "mode" not in told or told["mode"].s != b"nearest" or not shape or None in shape or dtype is None:
        return False
    if len(shape) != _RANK:
        return False
    corners = "align_corners" in told and told["align_corners"].i
    sizes = np.array(shape[:1:-1], np.float64)  # the grid has the last axis first
    factor = (sizes - 1 if corners else sizes) / 2
    back = np.divide(1, factor, out=np.zeros_like(factor), where=factor > 0)
    half = 0.0 if corners else 0.5
    instead = Instead(graph, node)

    def added(operator, name, value, what):
        return instead.add(operator, [name, instead.constant(f"{what}_by", np.asarray(value).astype(dtype))], what)

    name = added("Mul", added("Add", node.input[1], 1.0, "from_edge"), factor, "places")
    name = name if corners else added("Sub", name, half, "middles")
    name = instead.add("Round", [name], "rounded")
    name = name if corners else added("Add", name, half, "rounded_places")
    graph.read_instead(node, 1, added("Sub", added("Mul", name, back, "grid_from_edge"), 1.0, "grid"))
    return True


def _tan(graph, node, known):
    """`sin / cos` of what is left of the angle; of an odd number of right angles `-cos / sin`."""
    import numpy as np

    dtype = _FLOATS.get(known.type(node.input[0]))
    if dtype is None:
        return False
    instead = Instead(graph, node)

    def number(value):
        return instead.constant("number", np.asarray(value, dtype))

    def add(operator, what, *inputs):
        return instead.add(operator, list(inputs), what)

    count = add("Round", "count", add("Mul", "angles", node.input[0], number(2 / pi)))
    left = node.input[0]
    for part in _RIGHT_ANGLE:
        left = add("Sub", "left", left, add("Mul", "part", count, number(part)))
    pairs = add("Mul", "even", add("Floor", "pairs", add("Mul", "half", count, number(0.5))), number(2.0))
    is_odd = add("Greater", "is_odd", add("Sub", "rest", count, pairs), number(0.5))
    sine, cosine = add("Sin", "sine", left), add("Cos", "cosine", left)
    above = add("Where", "above", is_odd, add("Neg", "turned", cosine), sine)
    below = add("Where", "below", is_odd, sine, cosine)
    instead.end("Div", [above, below])
    return True


_CHANGES = {"GridSample": _grid_sample, "Tan": _tan}
