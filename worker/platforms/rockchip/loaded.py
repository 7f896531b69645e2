"""What of a model file the toolkit keeps: it drops inputs that nothing reads, and leaves scales as they came."""
from shared.rules.quantized import quantizing_operators
from worker.platforms.rockchip import reasons
from worker.stages.reachable import read_inputs


class Loaded:
    """The model at `path`; `names` are its inputs in the order of a sample's arrays. `read` are those that it reads,
    `quantizing` the operators that show that it is quantised already."""

    def __init__(self, path, names):
        import onnx

        model = onnx.load(path, load_external_data=False)
        self.path, self._names, self.read = path, names, set(read_inputs(model))
        self.quantizing = quantizing_operators({node.op_type for node in model.graph.node})

    def kept(self, values):
        """Those of a sample's values, one for each name, that the model reads."""
        return [value for name, value in zip(self._names, values) if name in self.read]

    def warnings(self, is_to_be_quantized):
        unread = [name for name in self._names if name not in self.read]
        found = [reasons.UNUSED_INPUTS(names=", ".join(unread)).en] if unread else []
        return found + ([reasons.KEEPS_ITS_SCALES().en] if self.quantizing and is_to_be_quantized else [])
