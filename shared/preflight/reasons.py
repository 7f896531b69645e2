"""The catalogue of what the pre-flight alone says; what the stages say too is in `shared.rules.reasons`."""
from __future__ import annotations

from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

NO_MODEL = Reason("input_not_found", "没有对象 {path}", "there is no object {path}",
                  "先上传模型", "upload the model first")
OPERATORS_REFUSED = Reason(
    "unsupported_operator", "目标平台的编译器不支持: {names}", "the target's compiler does not take: {names}",
    "替换为其支持的算子, 或在其之前结束模型", "replace them by operators that it takes, or end the model before them")
OPERATORS_AT_THE_END = Reason(
    "unsupported_operator", "目标平台的编译器不支持: {names}", "the target's compiler does not take: {names}",
    "只转换其余部分: parameters.{cut}; 剩下的在 CPU 上计算. 或替换这些算子",
    "convert the part without them: parameters.{cut}, and compute the rest on the CPU; or replace them")
NO_WAY_DOWN = Reason(
    "opset_unsupported",
    "目标平台的工具最高支持 opset {newest}, 而模型的 opset 为 {opset}; 这些算子无法转换到该版本: {names}",
    "the target's tool reads opsets up to {newest}, the model is of opset {opset}, and these operators cannot be "
    "converted down: {names}",
    "用 opset {newest} 或更低的版本重新导出模型", "export the model again with opset {newest} or lower")
_TYPES = ("目标平台的工具不接受这些类型的输入: {inputs}", "the target's tool takes no inputs of these types: {inputs}")
TYPES_NOT_TAKEN = Reason(
    "unsupported_type", *_TYPES, "用 float32 输入导出模型; 量化由 precision 选择",
    "export the model with inputs of float32; quantization is chosen by precision")
NO_SCALARS = Reason(
    "unsupported_type", "目标平台的工具不接受没有维度的输入 (标量): {inputs}",
    "the target's tool takes no inputs without dimensions: {inputs}",
    "用 fixed_inputs 固定其值, 或以形状 [1] 导出该输入",
    "fix its value with fixed_inputs, or export it with the shape [1]")
TYPES_BEHIND_CASTS = Reason(
    "unsupported_type", *_TYPES, "从类型转换之后开始: parameters.{cut}; 或用 float32 输入导出模型",
    "begin behind the Cast: parameters.{cut}; or export the model with inputs of float32")
OPERATORS_OF_TYPE = Reason(
    "unsupported_operator", "目标平台的编译器不支持这些算子读取该类型: {names}",
    "the target's compiler does not take these operators on this type: {names}",
    "用 float32 导出模型", "export the model with float32")
QUANTIZED_ALREADY = Reason(
    "already_quantized", "模型已经量化 ({names}), 目标平台的工具不会再次将其量化为 {precision}",
    "the model is quantised already ({names}), and the target's tool does not quantise it to {precision} a second time",
    "使用 precision int8 或 fp16, 此时采用模型自带的比例; 或发送量化之前的浮点模型",
    "send precision int8 or fp16, which take the model's own scales; or send the floating-point model from before it "
    "was quantised")
NO_REFERENCE = Reason(
    "reference_failed", "ONNX Runtime 计算参考结果, 但没有这些算子的实现: {names}",
    "ONNX Runtime, which computes the reference, has no implementation of: {names}",
    "用 opset 17 和 float32 导出模型; verify.enabled = false 时只转换, 不比较",
    "export the model with opset 17 and float32; verify.enabled = false converts without comparing")
_TO_BE_CONSTANT = ("目标平台的编译器要求这些输入为常量: {names}",
                   "the target's compiler wants these inputs of operators to be constants: {names}")
NOT_CONSTANT = Reason(
    "unsupported_operator", *_TO_BE_CONSTANT, "导出模型时使其为常量, 或在其之前结束模型 (参数 outputs)",
    "export the model with constants there, or end it before them (parameter outputs)")
NOT_CONSTANT_AT_THE_END = Reason(
    "unsupported_operator", *_TO_BE_CONSTANT,
    "只转换其余部分: parameters.{cut}; 剩下的在 CPU 上计算. 或在导出时使其为常量",
    "convert the part without them: parameters.{cut}, and compute the rest on the CPU; or export the model with "
    "constants there")
FIX_THE_INPUT = Reason(
    "unsupported_operator", *_TO_BE_CONSTANT, "用 fixed_inputs 给出模型输入的值: {inputs}",
    "send the values of the model's inputs in fixed_inputs: {inputs}")
INPUTS_DECIDE = Template(
    "这些输入的值决定形状或轴, 而检查所用的值是随机的: {names}; 用 fixed_inputs 给出它们的值",
    "the values of these inputs decide shapes or axes, and the check makes them at random: {names}; send them in "
    "fixed_inputs")
SCALES_JOINED = Template(
    "输出 {output} 把分数与其他范围的值合并在一起: {names}; 整数精度下它们可能共用一个比例, 分数会丢失. 发送 {cut}",
    "output {output} joins scores with values of another range: {names}; in an integer precision they may share one "
    "scale, and the scores are lost. Send {cut}")
MAY_BE_REFUSED = Template("目标平台的编译器遇到时可能拒绝: {names}",
                          "the target's compiler may refuse, where it meets them: {names}")
NOT_KNOWN = Template("尚不清楚目标平台的编译器是否支持: {names}",
                     "not known whether the target's compiler takes: {names}")
NOT_PUBLISHED = Template("不在厂商公布的支持清单中, 可能被拒绝: {names} ({source})",
                         "not in the vendor's published list, so probably refused: {names} ({source})")
PUBLISHED_ONLY = Template("算子仅与厂商公布的清单比较过, 未经实测: {source}",
                          "the operators were compared with the vendor's published list alone, which was not tried: "
                          "{source}")
NO_LIST = Bilingual("没有该目标平台支持的算子清单", "there is no list of the operators that this target takes")

HOPELESS = Template("{where} 无法转换 ({code}): {target}{message}; {hint}",
                    "{where} cannot be converted ({code}): {target}{message}; {hint}")

# --- why a check is incomplete
NOT_ALL = Template("未完整检查{what}: {why}", "{what} was not checked as a whole: {why}")
THE_MODEL, THE_SET = Bilingual("模型", "the model"), Bilingual("校准集", "the calibration set")
THE_TEST_INPUTS = Bilingual("测试输入集", "the set of test inputs")
TOO_SLOW = Bilingual("所需时间超过检查的上限", "it takes longer than a check may")
TOO_EXPENSIVE = Bilingual("所需内存或时间超过检查的上限", "it takes more memory or time than a check may")
TOO_MUCH_MEMORY = Bilingual("所需内存超过检查的上限", "it takes more memory than a check may")
REMOVED = Bilingual("在此期间被删除", "it was removed meanwhile")
DIRECTORY_TOO_LARGE = Template("目录超过 {mib} MiB", "its directory takes more than {mib} MiB")
TOO_MANY_DATA_FILES = Template("外部数据文件超过 {limit} 个", "it has more than {limit} files of external data")
