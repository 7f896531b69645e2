"""Where an output is joined of parts: the tensors of the last Concat before it, at which the model can be cut."""
from worker.stages.onnx_model import read_model

# They move values, or change their type; the parts stay what they are.
_MOVES = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_MOST_PARTS = 16
_LARGEST_BYTES = 512 << 20  # of the file: what is read here is read a second time


def find_joined(path, size_bytes):
    """`{output: names of the tensors that are joined to it}`, of the outputs that are joined."""
    if size_bytes > _LARGEST_BYTES:
        return {}
    graph = read_model(path).graph
    made_by = {name: node for node in graph.node for name in node.output if name}
    fixed = {tensor.name for tensor in graph.initializer}
    found = {}
    for value in graph.output:
        node = made_by.get(value.name)
        for _ in range(len(graph.node)):  # a model with a circle is refused elsewhere
            if node is None or node.op_type not in _MOVES:
                break
            node = made_by.get(node.input[0])
        if node is None or node.op_type != "Concat":
            continue
        parts = list(dict.fromkeys(node.input))
        if 2 <= len(parts) <= _MOST_PARTS and all(name in made_by and name not in fixed for name in parts):
            found[value.name] = parts
    return found
