"""What is said of input shapes."""
from shared.rules.bilingual import Template
from shared.rules.refusal import Reason

# --- what leaves a shape open
NO_SHAPE = Template("输入 {name!r} 没有形状", "input {name!r} has no shape at all")
OPEN_DIMENSION = Template("输入 {name!r} 的维度 {axis}{symbol}", "input {name!r} dimension {axis}{symbol}")
STILL_OPEN = Reason("dynamic_shape", "以下形状未固定: {places}", "nothing fixes {places}", "{hint}", "{hint}")
BATCH_OF_ONE = Template("输入 {name!r}: 未固定的 batch 维度已设为 1",
                        "input {name!r}: the open batch dimension was set to 1")

# --- what does not fit
NO_NAME = Reason(
    "input_shape_mismatch", "input_shape 没有指明输入, 而模型有 {count} 个输入: {names}",
    "input_shape names no input, and the model has {count}: {names}", "{hint}", "{hint}")
UNKNOWN_NAMES = Reason(
    "input_shape_mismatch", "模型没有输入 {unknown}; 其输入为: {names}",
    "the model has no input {unknown}; its inputs: {names}", "{hint}", "{hint}")
_OWN_SHAPE = ("模型自身的形状为 {declared}; 只能指定其中未固定的维度",
              "the model's own shape is {declared}; only its open dimensions can be chosen")
OTHER_RANK = Reason(
    "input_shape_mismatch", "输入 {name!r} 有 {rank} 个维度, input_shape 给出了 {count} 个: {dims}",
    "input {name!r} has {rank} dimensions, input_shape gives it {count}: {dims}", *_OWN_SHAPE)
OTHER_DIMENSION = Reason(
    "input_shape_mismatch", "输入 {name!r} 的维度 {axis} 在模型中为 {have}, input_shape 给出的是 {wanted}",
    "input {name!r} dimension {axis} is {have} in the model, input_shape says {wanted}", *_OWN_SHAPE)

EXAMPLE = Template('发送 input_shape, 例如 "{example}", 尺寸取模型实际使用的大小',
                   'send input_shape, for example "{example}", with the sizes that the model will be used with')
