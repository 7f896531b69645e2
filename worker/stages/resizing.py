"""A Resize that compilers take for another: spelled out along each of its axes.

OpenVINO (2026.4.1) does not look at `antialias`, `exclude_outside` and `keep_aspect_ratio_policy`, and onnxruntime-qnn
(2.7.0) refuses the first and does not look at the others. Along an axis each value of the answer is a weighted sum of
the values before it: a Gather where there is one weight, else a MatMul. The weights are what ONNX Runtime makes of the
unit vectors.
"""
from worker.stages.graph import Instead

_FLOATS = {1: "float32", 10: "float16"}
_ROI, _SCALES, _SIZES = 1, 2, 3  # inputs
_STRETCH, _CROPPED = b"stretch", b"tf_crop_and_resize"
_MAX_WEIGHTS = 1 << 24


def is_special(node):
    """Whether it is one that compilers take for another."""
    told = _attributes(node)
    with_sizes = len(node.input) > _SIZES and bool(node.input[_SIZES])
    if told.get("antialias") or told.get("exclude_outside"):
        return told.get("mode", b"nearest") != b"nearest"
    return with_sizes and told.get("keep_aspect_ratio_policy", _STRETCH) != _STRETCH


def spell_out_resize(graph, node, known):
    """Whether it was spelled out."""
    if not is_special(node) or any(name and name not in graph.constants for name in node.input[_ROI:]):
        return False
    before, after = known.shape(node.input[0]), known.shape(node.output[0])
    told = _attributes(node)
    if not before or not after or None in before + after or told.get("coordinate_transformation_mode") == _CROPPED:
        return False
    axes = told.get("axes") or list(range(len(before)))
    axes = [axis % len(before) for axis in axes]
    scales = _scales(graph, node, axes, before, told)
    weights = {axis: _weights(before[axis], scale, size, graph.opset(), told)
               for axis, scale, size in scales if (scale, size) != (1.0, None)}
    if any(array is None or array.shape[0] != after[axis] for axis, array in weights.items()):
        return False
    dtype = _FLOATS.get(known.type(node.input[0]))
    if dtype is None and not all(map(_picks, weights.values())):
        return False
    _Chain(graph, node, len(before), dtype).write(weights)
    return True


def _picks(weights):
    """Whether each value of the answer is one of those before it."""
    return bool(((weights == 0) | (weights == 1)).all() and (weights.sum(axis=1) == 1).all())


def _attributes(node):
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _scales(graph, node, axes, before, told):
    """`(axis, scale, size)` of each: with a size that is its own, the scale follows from it."""
    if len(node.input) > _SCALES and node.input[_SCALES]:
        return [(axis, float(scale), None) for axis, scale in zip(axes, graph.array(node.input[_SCALES]))]
    sizes = [int(size) for size in graph.array(node.input[_SIZES])]
    policy = told.get("keep_aspect_ratio_policy", _STRETCH)
    if policy == _STRETCH:
        return [(axis, 1.0 if size == before[axis] else 0.0, None if size == before[axis] else size)
                for axis, size in zip(axes, sizes)]
    chosen = (min if policy == b"not_larger" else max)(size / before[axis] for axis, size in zip(axes, sizes))
    return [(axis, chosen, None) for axis in axes]


def _weights(count, scale, size, opset, told):
    """`[values after, values before]` along one axis; None where ONNX Runtime has no answer, or it were too many."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    if count * max(size or 0, count * scale) > _MAX_WEIGHTS:
        return None
    given = numpy_helper.from_array(np.array([1, 1, scale, 1], np.float32), "scales") if size is None else (
        numpy_helper.from_array(np.array([1, 1, size, count], np.int64), "sizes"))
    kept = {name: value for name, value in told.items() if name not in ("axes", "keep_aspect_ratio_policy")}
    node = helper.make_node("Resize", ["x", "", "scales"] if size is None else ["x", "", "", "sizes"], ["y"], **kept)
    shape = [1, 1, count, count]
    graph = helper.make_graph([node], "weights", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])], [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": np.eye(count, dtype=np.float32).reshape(shape)})[0][0, 0]
    except Exception:  # ONNX Runtime's errors share no base class
        return None


class _Chain:
    def __init__(self, graph, node, rank, dtype):
        self._instead, self._rank, self._dtype = Instead(graph, node), rank, dtype
        self._name = node.input[0]

    def write(self, weights):
        for axis, array in weights.items():
            self._along(axis, array)
        self._instead.end("Identity", [self._name])

    def _along(self, axis, array):
        import numpy as np

        if _picks(array):
            chosen = self._instead.constant(f"chosen_{axis}", array.argmax(axis=1).astype(np.int64))
            self._name = self._instead.add("Gather", [self._name, chosen], f"along_{axis}", axis=axis)
            return
        last = self._rank - 1
        if axis == last - 1:  # the rows, from the left
            self._product([self._constant(axis, array), self._name], axis)
        elif axis == last:
            self._product([self._name, self._constant(axis, array.T)], axis)
        else:
            order = list(range(self._rank))
            order[axis], order[last] = last, axis
            self._name = self._instead.add("Transpose", [self._name], f"turned_{axis}", perm=order)
            self._product([self._name, self._constant(axis, array.T)], axis)
            self._name = self._instead.add("Transpose", [self._name], f"turned_back_{axis}", perm=order)

    def _constant(self, axis, array):
        import numpy as np

        return self._instead.constant(f"weights_{axis}", np.ascontiguousarray(array.astype(self._dtype)))

    def _product(self, inputs, axis):
        self._name = self._instead.add("MatMul", inputs, f"along_{axis}")
