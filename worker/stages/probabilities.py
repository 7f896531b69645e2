"""Which outputs are probabilities: what a Sigmoid or a Softmax makes, whatever then moves it or picks of it."""
from shared.rules.quantized import quantizing_operators
from worker.stages.onnx_model import read_model

# Half precision has no normal numbers below it, and an NPU flushes others to zero. As a probability it is none.
NEGLIGIBLE = 2.0**-14
_MAKERS = {"Sigmoid", "HardSigmoid", "Softmax"}
_KEEP = {"Cast", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "ReduceMax", "ReduceMean", "ReduceMin",
         "Reshape", "Slice", "Gather", "Squeeze", "Transpose", "Unsqueeze"}
_LARGEST_BYTES = 512 << 20  # of the file, which is read for this alone


def find_probabilities(path, size_bytes):
    """The names of those outputs; none of a model that is quantised already, whose artefact counts in integers whatever
    precision is asked for."""
    if size_bytes > _LARGEST_BYTES:
        return set()
    graph = read_model(path).graph
    if quantizing_operators({node.op_type for node in graph.node}):
        return set()
    made_by = {name: node for node in graph.node for name in node.output if name}
    return {value.name for value in graph.output if _is_probability(value.name, made_by)}


def _is_probability(name, made_by):
    waiting, seen = [name], set()
    while waiting:
        name = waiting.pop()
        node = made_by.get(name)
        if name in seen:
            continue
        seen.add(name)
        if node is not None and node.op_type == "Concat":
            waiting += node.input
        elif node is not None and node.op_type in _KEEP:
            waiting.append(node.input[0])
        elif node is None or node.op_type not in _MAKERS:
            return False
    return True
