"""Recurrent layers that have the batch first (`layout` 1), as ONNX Runtime and the compilers take them: time first.

ONNX allows both orders, and ONNX Runtime refuses to load the other one.
"""
from worker.stages.graph_edits import unique

_LAYERS = ("GRU", "LSTM", "RNN")
_SEQUENCE, _STATE = (1, 0, 2), (1, 0, 2)  # [batch, time, size]; [batch, directions, size]
_INPUTS = ((0, _SEQUENCE), (5, _STATE), (6, _STATE))
_OUTPUTS = ((0, (2, 0, 1, 3)), (1, _STATE), (2, _STATE))  # of the answers in [time, directions, batch, size]


def put_time_first(model):
    """Transpose what such layers of the main graph read and write; whether there were any."""
    from onnx import helper

    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    nodes, found = [], False
    for node in graph.node:
        layout = next((attribute for attribute in node.attribute if attribute.name == "layout" and attribute.i), None)
        if node.op_type not in _LAYERS or node.domain not in ("", "ai.onnx") or layout is None:
            nodes.append(node)
            continue
        found, after = True, []
        node.attribute.remove(layout)
        for index, order in _INPUTS:
            if len(node.input) > index and node.input[index]:
                name = unique(node.input[index] + "_time_first", taken)
                nodes.append(helper.make_node("Transpose", [node.input[index]], [name], name, perm=order))
                node.input[index] = name
        for index, back in _OUTPUTS:
            if len(node.output) > index and node.output[index]:
                name = unique(node.output[index] + "_time_first", taken)
                after.append(helper.make_node("Transpose", [name], [node.output[index]], name + "_back", perm=back))
                node.output[index] = name
        nodes += [node, *after]
    if found:
        kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(kept)
    return found
