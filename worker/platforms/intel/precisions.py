"""The operators of a quantized model that compute in INT8, read off the graph. A device may decide otherwise."""
from collections import Counter

_INTEGERS = ("i8", "u8", "i4", "u4")
# Hand on the values of their first input, or of all of them, as they are.
_TRANSPARENT = ("Concat", "MaxPool", "Pad", "Reshape", "Split", "Squeeze", "StridedSlice", "Transpose", "Unsqueeze",
                "VariadicSplit", "Gather", "Slice", "ReduceMax")
_ALL_INPUTS = ("Concat",)
_ELEMENTWISE = ("Add", "Divide", "Multiply", "Subtract")
_RECURRENT = {"LSTMSequence": (0, 4, 5), "GRUSequence": (0, 3, 4)}  # x, w and r; NNCF leaves the others
_DEQUANTIZING = ("Convert", "Multiply", "Subtract")  # of a stored weight


def count(model):
    """`({"int8": {type: count}, "float": {type: count}}, names of the latter)` of the operators that can be INT8.

    Those are the ones at whose inputs NNCF puts quantizers; activations, and sums or products with a constant (biases,
    scales), run with the operator before them.
    """
    from nncf.openvino.graph.metatypes.groups import INPUTS_QUANTIZABLE_OPERATIONS

    types = {name for metatype in INPUTS_QUANTIZABLE_OPERATIONS for name in metatype.op_names}
    counts, floating = {"int8": Counter(), "float": Counter()}, []
    for node in _all_nodes(model):
        if node.get_type_name() not in types or not _computes_real_numbers(node) or _runs_with_another(node):
            continue
        is_int8 = all(_is_int8(node.input_value(index).get_node()) for index in _quantizable_inputs(node))
        counts["int8" if is_int8 else "float"][node.get_type_name()] += 1
        if not is_int8:
            floating.append(node.get_friendly_name())
    return {kind: dict(sorted(found.items())) for kind, found in counts.items()}, floating


def read_precision(model, otherwise):
    """`int8`, `int16`, `fp16` or `fp32`: what an IR computes in, by its quantizers and the types of its constants. A
    model that was quantised before it came is INT8 whatever was asked for. `otherwise` is for one without constants,
    which leaves it to the device."""
    stored = set()
    for node in _all_nodes(model):
        if node.get_type_name() == "FakeQuantize":
            return "int8" if node.get_attributes()["levels"] <= 256 else "int16"
        if node.get_type_name() == "Constant" and node.get_element_type().is_real():
            stored.add(node.get_element_type().get_type_name())
    return "fp16" if "f16" in stored else "fp32" if "f32" in stored else otherwise


def _all_nodes(model):
    """Those in the bodies of If and loops too."""
    for node in model.get_ordered_ops():
        yield node
        for body in _bodies(node):
            yield from _all_nodes(body)


def _bodies(node):
    if node.get_type_name() == "If":
        return [node.get_function(0), node.get_function(1)]
    return [node.get_function()] if node.get_type_name() in ("Loop", "TensorIterator") else []


def _quantizable_inputs(node):
    """The numbers of the inputs that decide in which numbers it computes."""
    return _RECURRENT.get(node.get_type_name()) or [
        index for index in range(node.get_input_size()) if node.input_value(index).get_element_type().is_real()]


def _computes_real_numbers(node):
    """Its first output says so: an operator may have several, such as LSTM, GRU, TopK and Split."""
    return node.output(0).get_element_type().is_real()


def _runs_with_another(node):
    return node.get_type_name() in _ELEMENTWISE and any(
        _is_weight(node.input_value(index).get_node()) for index in range(node.get_input_size()))


def _is_weight(node):
    """A constant, or what makes numbers of a stored one."""
    kind = node.get_type_name()
    return kind == "Constant" or (kind in _DEQUANTIZING and all(
        _is_weight(node.input_value(index).get_node()) for index in range(node.get_input_size())))


def _is_int8(node):
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return True
    if _is_weight(node):
        return _stored_type(node) in _INTEGERS
    if kind in _TRANSPARENT:
        last = node.get_input_size() if kind in _ALL_INPUTS else 1
        return all(_is_int8(node.input_value(index).get_node()) for index in range(last))
    return False


def _stored_type(node):
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return node.get_element_type().get_type_name()
