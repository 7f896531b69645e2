"""What is said of mean and std."""
from shared.rules.refusal import Reason

_EACH_CHANNEL = ("为每个通道给出一个数值; 各输入不同时使用 {{input: numbers}}",
                 "send a number for each channel, or {{input: numbers}} where inputs differ")
NOT_AN_IMAGE = Reason(
    "preprocessing_mismatch", "mean 和 std 用于浮点图像, 而输入 {name!r} 为 {dtype} {shape}",
    "mean and std are for images of floating-point numbers, input {name!r} is {dtype} {shape}", *_EACH_CHANNEL)
OTHER_CHANNELS = Reason(
    "preprocessing_mismatch", "{kind} 有 {count} 个数值, 而输入 {name!r} 有 {channels} 个通道",
    "{kind} has {count} numbers, input {name!r} has {channels} channels", *_EACH_CHANNEL)
UNKNOWN_INPUT = Reason(
    "preprocessing_mismatch", "{kind} 指明了输入 {name!r}, 而模型的输入为: {names}",
    "{kind} names the input {name!r}, the model has: {names}", *_EACH_CHANNEL)
NO_IMAGE = Reason(
    "preprocessing_mismatch", "mean 和 std 用于浮点图像, 而没有这样的输入",
    "mean and std are for images of floating-point numbers, and no input is one", *_EACH_CHANNEL)
