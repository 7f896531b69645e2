"""The reader of an EPContext model: the graphs that the NPU runs, and the operators that stay on the CPU.

The form is that of ONNX Runtime's document "OnnxRuntime EP Context Cache Feature Design".
"""
import os

from shared.rules.refusal import Unusable
from worker.platforms.qualcomm import reasons

COMPATIBILITY = "ep_compatibility_info.QNNExecutionProvider"
_SOC_MODEL = 5  # its field there, as onnxruntime-qnn 2.7.0 writes it: …:htp_arch:soc_model:…
MAX_EMBEDDED_BYTES = 2000000000  # a protobuf ends at 2 GiB


class Artefact:
    """An EPContext model on disk.

    Raises:
        Unusable: it is not whole.
    """

    def __init__(self, path):
        import onnx
        from google.protobuf.message import DecodeError

        try:
            self.model = onnx.load(path)
        except (OSError, DecodeError) as error:
            raise Unusable(reasons.CANNOT_BE_READ(said=str(error))) from error
        self._folder = os.path.dirname(path)
        nodes = self.model.graph.node
        self.contexts = [node for node in nodes if node.op_type == "EPContext"]
        self.on_cpu = [node for node in nodes if node.op_type != "EPContext"]

    def soc_model(self):
        """For which chip it was compiled, as the compiler noted it; None where it did not."""
        notes = {entry.key: entry.value for entry in self.model.metadata_props}
        fields = notes.get(COMPATIBILITY, "").split(":")
        return int(fields[_SOC_MODEL]) if len(fields) > _SOC_MODEL and fields[_SOC_MODEL].isdigit() else None

    def owners(self):
        """The nodes that bring a context binary: its file's name, or all of it."""
        return [node for node in self.contexts if attribute(node, "main_context").i]

    def check(self):
        """Raises:
            Unusable: nothing of it is for the NPU, or a context binary lacks a graph that it is referred to for.
            OSError: a context binary cannot be read.
        """
        owned = b""
        for node in self.owners():
            with open(os.path.join(self._folder, attribute(node, "ep_cache_context").s.decode()), "rb") as file:
                owned += file.read()
        lost = [graph for graph in self.graphs() if graph.encode() not in owned]
        if lost or not self.contexts:
            raise Unusable(reasons.LACKS_GRAPHS(names=", ".join(lost)) if lost else reasons.LACKS_EVERYTHING)

    def graphs(self):
        return [attribute(node, "partition_name").s.decode() for node in self.contexts]

    def values(self):
        """Inputs and outputs as `{name, dtype, shape}`."""
        import onnx

        return {kind: [{"name": value.name,
                        "dtype": onnx.helper.tensor_dtype_to_string(value.type.tensor_type.elem_type)
                        .rpartition(".")[2].lower(),
                        "shape": [dim.dim_value if dim.HasField("dim_value") else None
                                  for dim in value.type.tensor_type.shape.dim]} for value in values]
                for kind, values in (("inputs", self.model.graph.input), ("outputs", self.model.graph.output))}


def attribute(node, name):
    return next(attribute for attribute in node.attribute if attribute.name == name)
