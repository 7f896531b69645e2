"""The catalogue of this target's messages. They quote OpenVINO and NNCF word for word."""
from shared.rules.bilingual import Bilingual
from shared.rules.refusal import Reason

_REPORT = ("报告该模型", "report the model")
NO_CONVERSION = Reason(
    "unsupported_operator", "OpenVINO 无法转换这些算子: {names}", "OpenVINO has no conversion for: {names}",
    "替换为 OpenVINO 支持的算子, 或在其之前结束模型",
    "replace them by operators that OpenVINO supports, or end the model before them")
NOT_CONVERTED = Reason(
    "compile_failed", "OpenVINO 无法转换模型: {said}", "OpenVINO cannot convert the model: {said}",
    "消息中指明了节点; 用其他设置导出模型, 或报告此问题",
    "the message names the node; export the model with other settings, or report it")
NEEDS_CONSTANTS = Reason(
    "unsupported_operator", "OpenVINO 要求这些输入为常量, 而模型计算它们: {names}",
    "OpenVINO takes these inputs as constants alone, and the model computes them: {names}",
    "如为模型的输入, 用 fixed_inputs 固定其值; 否则在其之前结束模型",
    "if they are inputs of the model, fix their values with fixed_inputs; else end the model before them")
NO_OTHER_FORM = Reason(
    "unsupported_operator", "OpenVINO 对 {names} 的计算与 ONNX 不同, 而改写后的模型结果不同: {said}",
    "OpenVINO computes {names} otherwise than ONNX, and the model with these in another form answers something else: "
    "{said}", *_REPORT)
NOT_SPELLED_OUT = Reason(
    "unsupported_operator", "OpenVINO 对这些算子的计算与 ONNX 不同: {names}",
    "OpenVINO computes these otherwise than ONNX: {names}",
    "导出不带 antialias, exclude_outside 与 keep_aspect_ratio_policy 的 Resize, 或在其之前结束模型",
    "export a Resize without antialias, exclude_outside and keep_aspect_ratio_policy, or end the model before it")
_AGAIN = ("重试; 如仍然失败, 请报告该模型", "try again; if it persists, report the model")
NO_WHOLE_IR = Reason("compile_failed", "OpenVINO 报告成功, 但没有写出完整的 IR",
                     "OpenVINO reported success but wrote no complete IR", *_AGAIN)
IR_UNREADABLE = Reason("compile_failed", "OpenVINO 无法读取其写出的 IR: {said}",
                       "OpenVINO cannot read the IR that it wrote: {said}", *_AGAIN)
STILL_DYNAMIC = Reason(
    "dynamic_shape", "IR 的输入仍为动态, NPU 不接受: {names}",
    "the IR's inputs are still dynamic, which the NPU refuses: {names}",
    "为它们发送 input_shape", "send input_shape for them")
DOES_NOT_RUN = Reason(
    "verify_failed", "产物无法在 OpenVINO 的 CPU 插件上运行: {said}",
    "the artefact does not run on OpenVINO's CPU plugin: {said}",
    "尝试 precision fp32; verify.enabled = false 时不运行即交付",
    "try precision fp32; verify.enabled = false delivers it without running it")

# --- quantizing
WRONG_SCOPE = Reason(
    "tensor_not_found", "quantization.ignored_scope: {said}", "quantization.ignored_scope: {said}",
    "名称和类型以 OpenVINO 为准: precision int8 的报告列出类型, IR 中有名称",
    "names and types are OpenVINO's: a report of precision int8 lists the types, the IR has the names")
NOT_QUANTIZED = Reason(
    "compile_failed", "NNCF 无法量化模型: {said}", "NNCF cannot quantize the model: {said}",
    "用 quantization.ignored_scope 将消息所指部分保留为浮点, 或使用 precision fp16",
    "leave what the message names in floating point with quantization.ignored_scope, or send precision fp16")

# --- what is baked in
NO_SUCH_INPUT = Reason(
    "preprocessing_mismatch", "{parameter} 用于{kind}输入; 模型的输入为: {inputs}",
    "{parameter} is for inputs that are {kind}; the model's are: {inputs}", "去掉 {parameter}", "leave out {parameter}")
IMAGES = Bilingual("图像", "images")
COLOUR_IMAGES = Bilingual("三通道图像", "images of three channels")
FLOAT_IMAGES = Bilingual("浮点图像", "images of floating-point numbers")
