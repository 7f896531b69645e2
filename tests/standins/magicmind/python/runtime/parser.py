"""Stand-in: the ONNX parser. It knows operators in the form that they had in opset 11, as users found."""
import onnx

from .core import Code, ModelKind, Status, log_error, say

KNOWN = {"Conv", "BatchNormalization", "Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Clip", "MaxPool",
         "AveragePool", "GlobalAveragePool", "Flatten", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Neg", "Exp",
         "Softmax", "Concat", "Reshape", "Transpose", "Gather", "Resize", "ConvTranspose", "Constant", "Shape",
         "Slice", "Cast", "Identity", "Unsqueeze", "Squeeze", "ReduceSum", "ReduceMean", "Pow", "Sqrt"}
ONE_OPERAND = {"Unsqueeze", "Squeeze", "ReduceSum"}  # opset 13 made their axes an input


class Parser:
    def __init__(self, kind):
        if kind is not ModelKind.kOnnx:
            raise RuntimeError("the stand-in parses ONNX only")

    def parse(self, network, path):
        try:
            model = onnx.load(path)
        except Exception as error:
            log_error("translation/onnx/module_loader.cc:44", f"Failed to read {path}: {error}")
            return Status(Code.INTERNAL, f"Internal: cannot read {path}")
        for node in model.graph.node:
            if node.op_type in ONE_OPERAND and len(node.input) > 1:
                say(f"error: 'onnx.{node.op_type}' op requires a single operand")
                log_error("translation/onnx/module_loader.cc:61", "Failed to verify onnx mlir module")
                log_error("cc/internal/mm_parser_core.h:57", "Internal: Onnx mlir graph is illegal")
                return Status(Code.INTERNAL, "Internal: Onnx mlir graph is illegal")
        unknown = sorted({node.op_type for node in model.graph.node} - KNOWN)
        for name in unknown:
            say(f"error: failed to legalize operation 'onnx.{name}'")
        if unknown:
            log_error("cc/internal/mm_parser_core.h:57", "Unimplemented: Convert onnx to magicmind failed")
            return Status(Code.INTERNAL, "Unimplemented: Convert onnx to magicmind failed")
        network.set_model(model)
        return Status.OK()
