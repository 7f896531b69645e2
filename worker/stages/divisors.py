"""Inputs of whole numbers that a model divides by: a sample with a zero among them has no answer."""
_DIVIDING = ("Div", "Mod")
_HANDING_ON = ("Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_FLOATS = ("float", "float16", "double")


def mark_divisors(path, inputs):
    """The `{name, dtype, shape}`; those of the model at `path` that it divides by have `divisor` besides."""
    import onnx

    whole = {entry["name"] for entry in inputs if not entry["dtype"].startswith(_FLOATS)}
    if not whole:
        return inputs
    graph = onnx.load(path, load_external_data=False).graph
    origin, divisors = {name: name for name in whole}, set()
    for node in graph.node:
        if node.op_type in _HANDING_ON and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
        elif node.op_type in _DIVIDING and node.input[1] in origin:
            divisors.add(origin[node.input[1]])
    return [dict(entry, divisor=True) if entry["name"] in divisors else entry for entry in inputs]
