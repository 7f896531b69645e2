"""Stand-in: a built model, its file, and running it: ONNX Runtime computes, then the precision's rounding is added."""
import json

import numpy as np
import onnx
import onnxruntime

from .core import ACTIVE, Code, DataType, Dims, Status, has

MAGIC = b"STAND-IN for MagicMind\n"
_NUMPY = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT32": np.int32, "UINT8": np.uint8, "BOOL": np.bool_}
_LEVELS = {"qint8": 1 << 7, "qint16": 1 << 15}


class Model:
    class EngineConfig:
        device_type = ""

    def __init__(self, about=None, network=b""):
        self._about, self._network = about, network

    def serialize_to_file(self, path):
        if has("empty-file"):
            open(path, "wb").close()
        elif not has("no-file"):
            with open(path, "wb") as file:
                file.write(b"" if has("unreadable") else MAGIC)
                file.write(json.dumps(self._about, sort_keys=True).encode() + b"\n" + self._network)
        return Status.OK()

    def deserialize_from_file(self, path):
        with open(path, "rb") as file:
            data = file.read()
        if not data.startswith(MAGIC):
            return Status(Code.INTERNAL, f"Internal: {path} is no MagicMind model")
        about, _, self._network = data[len(MAGIC):].partition(b"\n")
        self._about = json.loads(about)
        return Status.OK()

    def get_input_num(self):
        return len(self._about["inputs"])

    def get_output_num(self):
        return len(self._about["outputs"])

    def get_input_names(self):
        return [entry["name"] for entry in self._about["inputs"]]

    def get_output_names(self):
        return [entry["name"] for entry in self._about["outputs"]]

    def get_input_data_types(self):
        return [DataType[entry["type"]] for entry in self._about["inputs"]]

    def get_output_data_types(self):
        return [DataType[entry["type"]] for entry in self._about["outputs"]]

    def get_input_dimensions(self):
        return [Dims(entry["shape"]) for entry in self._about["inputs"]]

    def get_output_dimensions(self):
        return [Dims(entry["shape"]) for entry in self._about["outputs"]]

    def create_i_engine(self, config):
        return Engine(self._about, self._network) if config.device_type == "MLU" and ACTIVE else None


class Engine:
    def __init__(self, about, network):
        self._about, self._network = about, network

    def create_i_context(self):
        return Context(self._about, self._network)


class Tensor:
    def __init__(self, dtype=None):
        self._dtype, self._array, self.is_on_device = dtype, None, False

    def from_numpy(self, array):
        if self._dtype is not None and array.dtype != self._dtype:
            raise RuntimeError(f"the tensor is {self._dtype.__name__}, the array {array.dtype}")
        self._array, self.is_on_device = array, False

    def to(self, device):
        self.is_on_device = device.id in ACTIVE
        return Status.OK()

    def asnumpy(self):
        return self._array


class Context:
    def __init__(self, about, network):
        self._about = about
        model = onnx.load_model_from_string(network)
        if has("wrong-weights"):
            for tensor in model.graph.initializer:
                if tensor.data_type == onnx.TensorProto.FLOAT:
                    values = onnx.numpy_helper.to_array(tensor)
                    tensor.CopyFrom(onnx.numpy_helper.from_array(np.flip(values).copy(), tensor.name))
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def create_inputs(self):
        return [Tensor(_NUMPY[entry["type"]]) for entry in self._about["inputs"]]

    def enqueue(self, inputs, outputs, queue):
        settings = self._about["settings"]
        feed = {}
        for position, (tensor, value) in enumerate(zip(inputs, self._session.get_inputs(), strict=True)):
            if not tensor.is_on_device:
                return Status(Code.INTERNAL, "Internal: an input is not on the device")
            array = tensor.asnumpy()
            wanted = self._about["inputs"][position]["shape"]
            if len(wanted) != array.ndim or any(a not in (-1, b) for a, b in zip(wanted, array.shape, strict=True)):
                return Status(Code.INTERNAL, f"Invalid argument: shape {list(array.shape)} for {wanted}")
            if str(position) in settings.get("convert_input_layout", {}):
                array = np.moveaxis(array, 3, 1)
            if bn := settings.get("insert_bn_before_firstnode", {}).get(str(position)):
                mean, var = (np.asarray(bn[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "var"))
                array = (array.astype(np.float32) - mean) / np.sqrt(var)
            feed[value.name] = self._round(array, position).astype(_numpy_type(value.type), copy=False)
        for position, output in enumerate(self._session.run(None, feed)):
            tensor = Tensor()
            if "float32" not in settings["precision_config"]["precision_mode"] and output.dtype == np.float32:
                output = output.astype(np.float16).astype(np.float32)
            turned = str(position) in settings.get("convert_output_layout", {})
            tensor.from_numpy(np.moveaxis(output, 1, 3) if turned else output)
            outputs.append(tensor)
        return Status.OK()

    def _round(self, array, position):
        """What quantized inputs are: within the calibrated range, one of so many levels."""
        ranges, levels = self._about["ranges"], next(
            (count for name, count in _LEVELS.items()
             if self._about["settings"]["precision_config"]["precision_mode"].startswith(name + "_")), 0)
        if not ranges or not levels or array.dtype.kind != "f":
            return array
        top = max(map(abs, ranges[position])) or 1.0
        return np.rint(np.clip(array / top, -1, 1) * (levels - 1)) / (levels - 1) * top


def _numpy_type(name):
    return {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
            "tensor(uint8)": np.uint8, "tensor(bool)": np.bool_}[name]
