"""Operators in forms that OpenVINO's reader of ONNX gets right, where the same is written in several.

Seen with OpenVINO 2026.4.1: of a DFT it reads the axis as an attribute, which opset 20 has made an input; of a
NonMaxSuppression it drops boxes whose overlap is the threshold, which ONNX keeps; a Tile whose repeats are computed
gives what lay in the memory. See `shifts` and `resizing` too.
"""
from collections import Counter

from worker.platforms.intel.shifts import spell_out_shift
from worker.stages.graph import Instead, Known
from worker.stages.infinities import bound_masks
from worker.stages.resizing import is_special, spell_out_resize

_STANDARD = ("", "ai.onnx")
_AXIS_IS_INPUT = 20  # the opset of DFT
_AXIS = 1  # that OpenVINO takes where it reads none
# Without the change a box may be lost that overlaps by just the threshold; with it nothing else changes.
HARMLESS = {"NonMaxSuppression", "Equal"}
_A_LITTLE = 2.0**-23  # FP16 holds it too; a share of the overlap that float32 tells from none below 1


def computed_inputs(graph):
    """`operator (tensor)` of what has to be a constant and is none."""
    return [f"{node.op_type} ({node.input[index]})" for node in _nodes(graph) for index in _constant_ones(graph, node)
            if index < len(node.input) and node.input[index] and node.input[index] not in graph.constants]


def _constant_ones(graph, node):
    """The indices of its inputs that have to be constants."""
    if node.op_type == "Tile":
        return [1]
    if node.op_type == "DFT" and graph.opset() >= _AXIS_IS_INPUT:
        return [2]
    return [1, 2, 3] if node.op_type == "Resize" and is_special(node) else []


def change_forms(graph):
    """How many nodes were changed, `{operator: count}`."""
    known = Known(graph)
    nodes = [node for node in _nodes(graph) if node.op_type in _CHANGES]
    masks = bound_masks(graph)
    found = Counter(name for node in nodes for name in [node.op_type] if _CHANGES[name](graph, node, known))
    return dict(found, Equal=masks) if masks else dict(found)


def left_over(graph):
    """`operator (tensor)` of what OpenVINO would take for something else, and could not be changed."""
    return [f"{node.op_type} ({node.output[0]})" for node in _nodes(graph)
            if node.op_type == "Resize" and is_special(node)]


def _nodes(graph):
    return [node for node in graph.graph.node if node.domain in _STANDARD]


def _dft(graph, node, known):
    """Along the axis that OpenVINO takes, with the tensor turned before it and back after it; and with the shape that
    ONNX gives it: of one side alone OpenVINO keeps the dimension of the numbers that had no imaginary part."""
    import numpy as np

    shape, answer = known.shape(node.input[0]), known.shape(node.output[0])
    if not shape:
        return False
    one_sided = any(attribute.name == "onesided" and attribute.i for attribute in node.attribute)
    axis = _AXIS
    if graph.opset() >= _AXIS_IS_INPUT:
        given = len(node.input) > 2 and node.input[2]
        axis = int(graph.array(node.input[2]).reshape(-1)[0]) % len(shape) if given else len(shape) - 2
    is_shaped = one_sided and answer and None not in answer
    if axis == _AXIS and not is_shaped:
        return False
    instead = Instead(graph, node)
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    turned, order = node.input[0], list(range(len(shape)))
    inputs = list(node.input)
    if axis != _AXIS:
        order[axis], order[_AXIS] = _AXIS, axis
        turned = instead.add("Transpose", [node.input[0]], "turned", perm=order)
        inputs = [turned, node.input[1] if len(node.input) > 1 else "",
                  instead.constant("axis", np.asarray(_AXIS, np.int64))]
    made = instead.add("DFT", inputs, "transformed", **attributes)
    if is_shaped:
        wanted = [answer[index] for index in order]
        made = instead.add("Reshape", [made, instead.constant("shape", np.asarray(wanted, np.int64))], "shaped")
    if axis != _AXIS:
        instead.end("Transpose", [made], perm=order)
    else:
        instead.end("Identity", [made])
    return True


def _non_max_suppression(graph, node, known):
    """With a threshold that is a little greater, at which OpenVINO drops what ONNX drops above this one. A constant
    keeps the difference in an artefact of FP32 alone."""
    import numpy as np

    given = len(node.input) > 3 and node.input[3]
    if given and known.type(node.input[3]) != 1:
        return False
    instead = Instead(graph, node)
    if not given or node.input[3] in graph.constants:
        values = graph.array(node.input[3]) if given else np.zeros(1, np.float32)
        raised = instead.constant("threshold", (values + np.float32(_A_LITTLE)).astype(np.float32))
    else:
        raised = instead.add("Add", [node.input[3], instead.constant("a_little", np.float32(_A_LITTLE))], "threshold")
    while len(node.input) < 4:
        node.input.append("")
    graph.read_instead(node, 3, raised)
    return True


_CHANGES = {"BitShift": spell_out_shift, "DFT": _dft, "NonMaxSuppression": _non_max_suppression,
            "Resize": spell_out_resize}
