"""What an artefact computes in, read off the compiler's trace, never off what was asked for."""
import re

TOKEN = re.compile(r"(_token_\d+)+$")  # what the layout pass appends to a node's name


def read_precision(path, graphs):
    """`int8`, `int16` or `fp16`. `graphs` are those of the compiler's trace, `path` the model that was compiled.

    The NPU computes in integers where the trace has an operator made together with the quantizers around it. How many
    bits they have, the zero points of those quantizers tell: INT16 is an artefact without activations of 8 bits, and
    INT8 may have some of 16, which its details name. A model that was quantised before it came is INT8 whatever was
    asked for.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    quantizers = {node.name: types.get(node.input[2]) if len(node.input) > 2 else None for node in model.graph.node
                  if node.op_type == "QuantizeLinear"}
    fused = {TOKEN.sub("", source["name"]) for graph in graphs for mapping in graph["op_mappings"]
             if mapping["dst_qnn_op_type"] != "Quantize" for source in mapping["sources"]}
    wide = (onnx.TensorProto.UINT16, onnx.TensorProto.INT16)
    found = {"int16" if dtype in wide else "int8" for name, dtype in quantizers.items() if name in fused}
    return min(found, key=("int8", "int16").index) if found else "fp16"
