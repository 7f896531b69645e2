"""Whether a model is quantised already: it brings integer scales of its own. Standard library only."""

# ONNX's, and ONNX Runtime's in the domain com.microsoft. DequantizeLinear alone does not count: with nothing but that a
# model stores its weights as integers, and computes in floating point.
_MARKS = ("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")
_PREFIX = "QLinear"


def quantizing_operators(names):
    """Those of the operators, `Conv` or `com.microsoft.QLinearAdd`, that show it; sorted, none for other models."""
    return sorted(name for name in names if _bare(name) in _MARKS or _bare(name).startswith(_PREFIX))


def _bare(name):
    return name.rpartition(".")[2]
