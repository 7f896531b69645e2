"""The ranges of a model's own inner tensors while ONNX Runtime runs it.

Two reductions behind each tensor make its least and its greatest value outputs of the model: a run so takes hardly more
memory than the model itself, however large its tensors are.
"""
import os
from math import isnan

from shared.rules.models import MODEL
from worker.stage_api import is_out_of_memory, log
from worker.stages.inferred import infer_values

_MAX_NODES = 20000
_REDUCTIONS = ("ReduceMin", "ReduceMax")
_LARGEST = 3.4028234663852886e38  # of float32: facts hold no infinity


class Inner:
    """The static model in `folder` with such outputs."""

    def __init__(self, folder, threads):
        """Raises whatever onnx and ONNX Runtime raise; their errors share no base class."""
        import onnx
        import onnxruntime

        model = onnx.load(os.path.join(folder, MODEL), load_external_data=False)
        if len(model.graph.node) > _MAX_NODES:
            raise ValueError(f"it has more than {_MAX_NODES} nodes")
        self._names = _watch(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                                     providers=["CPUExecutionProvider"])
        self._outputs = [value.name for value in self._session.get_outputs()][-2 * len(self._names):]

    def run(self, feed):
        """`{tensor: (least, greatest)}` for `{input: array}`, in the order in which they are computed; without those
        that hold NaN."""
        ends = [float(end) for end in self._session.run(self._outputs, feed)] if self._names else []
        return {name: (max(-_LARGEST, least), min(_LARGEST, greatest))
                for name, least, greatest in zip(self._names, ends[::2], ends[1::2])
                if not isnan(least) and not isnan(greatest)}


def open_inner(folder, threads):
    """An `Inner`, or None where the model cannot be looked into: that fails no conversion."""
    try:
        return Inner(folder, threads)
    except Exception as error:  # onnx's and ONNX Runtime's errors share no base class
        log(f"the model's inner tensors are not looked at: {'out of memory' if is_out_of_memory(error) else error}")
        return None


def _watch(model):
    """Add the reductions; the names of the tensors that they watch."""
    import onnx

    graph, float32 = model.graph, onnx.TensorProto.FLOAT
    types = _float_types(model)
    watched = [name for node in graph.node for name in node.output if name in types]
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    prefix = "inner"
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    for number, name in enumerate(watched):
        source = name
        if types[name] != float32:
            source = f"{prefix}{number}"
            graph.node.append(onnx.helper.make_node("Cast", [name], [source], to=float32))
        for operator in _REDUCTIONS:
            end = f"{prefix}{number}{operator}"
            graph.node.append(onnx.helper.make_node(operator, [source], [end], keepdims=0))
            graph.output.append(onnx.helper.make_tensor_value_info(end, float32, []))
    return watched


def _float_types(model):
    """`{tensor: its element type}` of those of floating-point numbers that hold any."""
    import onnx

    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return {name: value.type.tensor_type.elem_type for name, value in infer_values(model).items()
            if value.type.tensor_type.elem_type in floats
            and not any(dim.HasField("dim_value") and dim.dim_value == 0 for dim in value.type.tensor_type.shape.dim)}
