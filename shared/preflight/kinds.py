"""Kinds of ONNX's standard operators, as far as the pre-flight tells them apart."""
from __future__ import annotations

# What makes a network one: a cut that leaves little of it is no advice.
HEAVY = {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MatMul", "MatMulInteger", "QLinearMatMul", "Gemm",
         "LSTM", "GRU", "RNN", "Attention", "Einsum"}
# They move values about. Behind a cut whoever reads it does the same at no cost.
MOVING = {"Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Identity", "Cast", "Slice", "Gather", "Split"}
# What they make is of another type than what they read, or may be.
OTHER_TYPES = {"Cast", "CastLike", "ArgMax", "ArgMin", "NonZero", "IsNaN", "IsInf", "Equal", "Greater",
               "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Xor", "Not", "Where", "OneHot", "QuantizeLinear",
               "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "If", "Loop", "Scan", "EyeLike", "Multinomial",
               "Bernoulli", "RandomNormalLike", "RandomUniformLike", "NonMaxSuppression"}
# Inputs, by their indices, whose values decide shapes or axes.
DECIDING = {"Reshape": (1,), "Expand": (1,), "Tile": (1,), "Pad": (1, 3), "TopK": (1,), "Slice": (1, 2, 3, 4),
            "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "Resize": (2, 3), "Upsample": (1,), "OneHot": (1,),
            "CumSum": (1,), "ConstantOfShape": (0,), "Range": (0, 1, 2), "CenterCropPad": (1,), "AffineGrid": (1,),
            **{f"Reduce{kind}": (1,) for kind in (
                "L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")}}
# What comes out of them lies between 0 and 1.
SCORES = {"Sigmoid", "HardSigmoid", "Softmax"}
