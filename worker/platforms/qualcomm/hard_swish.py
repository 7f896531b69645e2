"""`x * clip(x + 3, 0, 6) / 6` as the one operator that it is.

Exporters without HardSwish (ONNX opset below 14) write four operators, whose three values between them a quantizer
rounds; MobileNetV3 and its kin have it after every other convolution. Others write HardSigmoid and Mul, and ONNX
Runtime takes a HardSwish apart into the same two. In FP16 the compiler makes nonsense of these (onnxruntime-qnn 2.7.0:
cosine -0.6), while HardSwish itself, and HardSigmoid without the product, come out right.
"""

OPSET = 14
_TOLERANCE = 1e-3  # of constants that went through FP16


def fuse_hard_swish(graph):
    """Replace each such group by HardSwish; how many there were."""
    if graph.opset() < OPSET:
        return 0
    fused = 0
    for last in list(graph.graph.node):
        fused += _take_hard_sigmoid(graph, last)
        group = _match(graph, last)
        if group is None:
            continue
        data, members = group
        position = list(graph.graph.node).index(last)
        for node in members:
            graph.remove(node)
        graph.insert(position - len(members) + 1, "HardSwish", [data], last.output[0])
        fused += 1
    return fused


def _match(graph, last):
    """`(x, its nodes)` where `last` is the division that ends such a group."""
    product = _other(graph, last, "Div", 6.0, commutes=False) or _other(graph, last, "Mul", 1 / 6)
    multiply = graph.producers.get(product)
    if multiply is None or multiply.op_type != "Mul":
        return None
    for clipped, data in (multiply.input, reversed(multiply.input)):
        clip = graph.producers.get(clipped)
        if clip is None or clip.op_type != "Clip" or not _is_clip(graph, clip):
            continue
        add = graph.producers.get(clip.input[0])
        if add is not None and _other(graph, add, "Add", 3.0) == data:
            inner = (add, clip, multiply)
            if all(node.output[0] not in graph.outputs and graph.count_reads(node.output[0]) == 1 for node in inner):
                return data, (*inner, last)
    return None


def _take_hard_sigmoid(graph, last):
    """Let `x * HardSigmoid(x)` be one operator; 1 if it was that. What else reads the HardSigmoid keeps it."""
    if last.op_type != "Mul" or len(last.input) != 2:
        return 0
    for gate, data in (last.input, reversed(last.input)):
        node = graph.producers.get(gate)
        if node is None or node.op_type != "HardSigmoid" or node.input[0] != data:
            continue
        given = {attribute.name: attribute.f for attribute in node.attribute}
        if abs(given.get("alpha", 0.2) - 1 / 6) > _TOLERANCE or abs(given.get("beta", 0.5) - 0.5) > _TOLERANCE:
            continue
        position = list(graph.graph.node).index(last)
        output = last.output[0]
        graph.remove(last)
        graph.insert(position, "HardSwish", [data], output)
        if gate not in graph.outputs and graph.count_reads(gate) == 0:
            graph.remove(node)
        return 1
    return 0


def _other(graph, node, operator, value, commutes=True):
    """The input of `node` beside the constant `value`, if that is what it is."""
    if node.op_type != operator or len(node.input) != 2:
        return None
    for data, constant in (node.input, reversed(node.input)) if commutes else (node.input,):
        if constant in graph.constants and _is(graph, constant, value):
            return data
    return None


def _is_clip(graph, clip):
    return len(clip.input) == 3 and _is(graph, clip.input[1], 0.0) and _is(graph, clip.input[2], 6.0)


def _is(graph, name, value):
    if name not in graph.constants:
        return False
    values = graph.array(name).reshape(-1)
    return values.size == 1 and abs(float(values[0]) - value) < _TOLERANCE
