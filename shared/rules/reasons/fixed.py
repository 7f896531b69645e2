"""What is said of inputs that a client fixes."""
from shared.rules.refusal import Reason

UNKNOWN_INPUT = Reason(
    "fixed_input_mismatch", "模型没有输入 {name!r}; 其输入为: {names}",
    "the model has no input {name!r}; its inputs: {names}",
    "使用模型自身的输入名称", "use the names of the model's own inputs")
ALL_FIXED = Reason(
    "fixed_input_mismatch", "fixed_inputs 固定了模型的全部输入: {names}",
    "fixed_inputs fixes all of the model's inputs: {names}",
    "至少保留一个输入", "leave at least one input")
OTHER_TYPE = Reason(
    "fixed_input_mismatch", "输入 {name!r} 的类型为 {dtype}, 不能取值 {value}",
    "input {name!r} is of type {dtype}, which {value} is not",
    "bool 用 true 或 false, 整数类型用其范围内的整数, 浮点类型用数字",
    "send true or false for bool, whole numbers within its range for an integer type, numbers for a floating one")
NOT_FIXABLE = Reason(
    "fixed_input_mismatch", "输入 {name!r} 的类型 {dtype} 不能固定", "input {name!r} of type {dtype} cannot be fixed",
    "只能固定数字和布尔张量", "only tensors of numbers and of bool can be fixed")
OTHER_SHAPE = Reason(
    "fixed_input_mismatch", "输入 {name!r} 的形状为 {declared}, 给出的值形状为 {dims}",
    "input {name!r} has the shape {declared}, the value sent for it {dims}",
    "给出该形状的数组, 或给出单个值以填满整个输入",
    "send lists of that shape, or a single value, which fills the whole input")
