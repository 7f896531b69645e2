"""What single tensors get that are not quantized as the rest, as ONNX Runtime takes it and as one would type it."""
from worker.platforms.qualcomm.ranges import bounds

_FIXED = ("Sigmoid", "Tanh")  # the NPU wants scales of its own for what these write; the quantizer knows them


def overrides_16(model, names, ranges):
    """`{tensor: [override]}` for the quantizer; `ranges` are those for 16 bits."""
    import numpy as np
    from onnxruntime.quantization import QuantType

    fixed = {node.output[0] for node in model.graph.node if node.op_type in _FIXED}
    return {name: [{"quant_type": QuantType.QUInt16, **({} if name in fixed else dict(
        zip(("rmin", "rmax"), map(np.float32, bounds(ranges[name])))))}] for name in names}


def unsigned_scales(model):
    """`{tensor: [override]}` for the scales of layer normalisations: the NPU has the operator with unsigned ones alone,
    and the quantizer writes them as it does all weights."""
    from onnxruntime.quantization import QuantType

    constants = {tensor.name for tensor in model.graph.initializer}
    return {node.input[1]: [{"quant_type": QuantType.QUInt8}] for node in model.graph.node
            if node.op_type == "LayerNormalization" and node.input[1] in constants}


def tell(overrides):
    """The same as Python text."""
    told = []
    for name, (entry,) in overrides.items():
        ends = "".join(f", {key!r}: numpy.float32({float(entry[key])!r})" for key in ("rmin", "rmax") if key in entry)
        told.append(f"{name!r}: [{{'quant_type': quantization.QuantType.{entry['quant_type'].name}{ends}}}]")
    return "{" + ", ".join(told) + "}"
