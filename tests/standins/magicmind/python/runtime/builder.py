"""Stand-in: the network, the builder's configuration, the builder."""
import json
import os
import time

from onnx import TensorProto

from .core import Code, DataType, Dims, Status, build_seconds, has, log_error
from .model import Model

KEYS = {"archs", "graph_shape_mutable", "dim_range", "precision_config", "opt_config", "cross_compile_toolchain_path",
        "convert_input_layout", "convert_output_layout", "insert_bn_before_firstnode", "computation_preference",
        "compute_determinism", "debug_config"}
MODES = {"force_float32", "force_float16", "qint8_mixed_float16", "qint16_mixed_float16", "qint8_mixed_float32",
         "qint16_mixed_float32"}
_TYPES = {TensorProto.FLOAT: DataType.FLOAT32, TensorProto.INT64: DataType.INT32, TensorProto.INT32: DataType.INT32,
          TensorProto.UINT8: DataType.UINT8, TensorProto.BOOL: DataType.BOOL, TensorProto.FLOAT16: DataType.FLOAT16}


class BuilderConfig:
    def __init__(self):
        self.settings = {}

    def parse_from_string(self, text):
        new = json.loads(text)
        old = {"computation_preference"} if has("old-release") else set()
        refused = sorted(set(new) - (KEYS - old))
        mode = new.get("precision_config", {}).get("precision_mode")
        if refused or (mode and mode not in MODES):
            return Status(Code.INTERNAL, f"Invalid argument: Unknown key or value in {text}")
        _merge(self.settings, new)
        return Status.OK()


class Tensor:
    def __init__(self, value):
        self.value = value

    def set_dimension(self, dims):
        shape = self.value.type.tensor_type.shape
        if len(shape.dim) != len(dims.GetDims()):
            return Status(Code.INTERNAL, "Invalid argument: rank mismatch")
        for dim, size in zip(shape.dim, dims.GetDims(), strict=True):
            dim.dim_value = size
        return Status.OK()

    def get_dimension(self):
        return Dims([dim.dim_value or -1 for dim in self.value.type.tensor_type.shape.dim])


class Network:
    def __init__(self):
        self.model, self.ranges = None, None

    def set_model(self, model):
        self.model = model
        constants = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [value for value in model.graph.input if value.name not in constants]

    def get_input_count(self):
        return len(self.inputs)

    def get_input(self, position):
        return Tensor(self.inputs[position])

    def get_output_count(self):
        return len(self.model.graph.output)


class Builder:
    def build_model(self, name, network, config):
        settings = config.settings
        time.sleep(build_seconds())
        if has("abort"):
            os.abort()
        problem = _problem(network, settings)
        if problem:
            log_error("cc/internal/mm_builder.cc:212", problem)
            return None
        about = {"name": name, "settings": settings, "ranges": network.ranges,
                 "inputs": _inputs(network, settings), "outputs": _outputs(network, settings)}
        return Model(about, network.model.SerializeToString())


def _problem(network, settings):
    if has("no-model"):
        return "Internal: Kernel compilation failed for op type Conv, it is not supported with this shape"
    if has("out-of-memory"):
        return "Resource exhausted: std::bad_alloc"
    archs = [arch if isinstance(arch, str) else next(iter(arch)) for arch in settings.get("archs", [])]
    if any("322" in arch for arch in archs) and not os.path.isdir(settings.get("cross_compile_toolchain_path", "")):
        return "Invalid argument: cross_compile_toolchain_path is needed for tp_322"
    if "qint" in settings["precision_config"]["precision_mode"] and network.ranges is None:
        return "Failed precondition: the network has no quantization parameters"
    wide = any(value.type.tensor_type.elem_type == TensorProto.INT64 for value in network.inputs)
    if wide and not settings.get("opt_config", {}).get("type64to32_conversion"):
        return "Invalid argument: INT64 data, set type64to32_conversion"
    for position in settings.get("convert_input_layout", {}):
        if len(network.inputs[int(position)].type.tensor_type.shape.dim) != 4:
            return "Invalid argument: layout NHWC for a tensor without four dimensions"
    return None


def _inputs(network, settings):
    described = []
    ranges = settings.get("dim_range", {}) if settings["graph_shape_mutable"] else {}
    for position, value in enumerate(network.inputs):
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        bounds = ranges.get(str(position))
        if bounds:
            shape = [size if low == high else -1 for size, low, high in zip(shape, bounds["min"], bounds["max"],
                                                                           strict=True)]
        if str(position) in settings.get("convert_input_layout", {}):
            shape = [shape[0], *shape[2:], shape[1]]
        if has("stays-dynamic"):
            shape[0] = -1
        normalised = str(position) in settings.get("insert_bn_before_firstnode", {})
        data_type = DataType.UINT8 if normalised else _TYPES[value.type.tensor_type.elem_type]
        described.append({"name": value.name, "type": data_type.name, "shape": shape})
    return described


def _outputs(network, settings):
    described = []
    for position, value in enumerate(network.model.graph.output):
        shape = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
        if str(position) in settings.get("convert_output_layout", {}):
            shape = [shape[0], *shape[2:], shape[1]]
        described.append({"name": value.name, "type": _TYPES[value.type.tensor_type.elem_type].name, "shape": shape})
    return described[:-1] if has("lost-output") else described


def _merge(into, new):
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
