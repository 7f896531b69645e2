"""The catalogue of this target's messages. They quote the QNN compiler and ONNX Runtime word for word."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

# --- the compiler
NOT_BUILT = Reason(
    "compile_failed", "QNN 编译器无法构建模型: {said}", "the QNN compiler cannot build the model: {said}",
    "日志中有全部过程; 尝试其他精度或更小的 input_shape; 若其中的代码指向内存 (MEM), 给予更多内存 "
    "(limits.stage_memory_bytes)",
    "the log has the whole story; try another precision or a smaller input_shape; where a code in it names memory "
    "(MEM), give it more (limits.stage_memory_bytes)")
NOT_SURVIVED = Reason(
    "compile_failed", "QNN 编译器 {end}", "the QNN compiler {end}",
    "这是编译器自身的错误, 日志中有最后一步; 用 outputs 或 inputs 只转换模型的一部分可以找到它无法处理的算子",
    "the fault is the compiler's own, and the log shows its last step; converting a part of the model (outputs, "
    "inputs) shows which operator it cannot take")
NO_STATIC_SHAPE = Reason(
    "dynamic_shape", "NPU 仅接受静态形状; 以下值没有静态形状: {names}",
    "the NPU takes static shapes only; these values have none: {names}",
    "在输出取决于数据的算子 (NonZero, NonMaxSuppression) 之前结束模型, 或用 input_shape 固定形状",
    "end the model before operators whose output depends on the data (NonZero, NonMaxSuppression), or fix the shapes "
    "with input_shape")
NOT_TAKEN = Reason(
    "unsupported_operator", "NPU 不支持: {kinds} ({names}{more})", "the NPU does not take: {kinds} ({names}{more})",
    "替换这些算子, 更换其数据类型, 或在其之前结束模型; 若另有 NPU 可执行的部分, allow_cpu = true 将它们留给 CPU",
    "replace them, give them other data types, or end the model before them; allow_cpu = true leaves them to the CPU "
    "where there is anything for the NPU")
QUANTIZED_ALREADY = Reason(
    "already_quantized", "模型已经量化, 而 NPU 的编译器不接受其量化算子的这种位置: {names}",
    "the model is quantised already, and the NPU's compiler does not take its quantising operators where they stand: "
    "{names}",
    "使用 precision int8 和 calibration, 此时会补全量化; 或发送量化之前的浮点模型",
    "send precision int8 with a calibration set, which completes the quantising; or send the floating-point model from "
    "before it was quantised")
NO_SUCH_VALUES = Reason(
    "unsupported_operator", "NPU 的数值不区分 NaN 与无穷大, 以下算子的结果会是错误的: {names}",
    "the NPU's numbers do not tell NaN from infinity, these operators would answer something wrong: {names}",
    "导出不含它们的模型, 或在其之前结束模型", "export the model without them, or end it before them")
MORE = Template(" 等, 另有 {count} 个", " and {count} more")
NOT_QUANTIZED = Reason(
    "compile_failed", "ONNX Runtime 无法量化模型: {said}", "ONNX Runtime cannot quantize the model: {said}",
    "用 opset 17 导出模型, precision int16 时用 21; precision fp16 不需要量化",
    "export the model with opset 17, or 21 for precision int16; precision fp16 needs no quantizing")

# --- the artefact
_AGAIN = ("重试; 如仍然失败, 请报告该模型", "try again; if it persists, report the model")
NO_WHOLE_CONTEXT = Reason(
    "compile_failed", "QNN 编译器报告成功, 但没有写出完整的 context: {said}",
    "the QNN compiler reported success but wrote no whole context: {said}", *_AGAIN)
CANNOT_BE_READ = Template("无法读取: {said}", "it cannot be read: {said}")
LACKS_GRAPHS = Template("context 二进制中缺少 {names}", "its context binary lacks {names}")
LACKS_EVERYTHING = Bilingual("context 二进制中缺少全部内容", "its context binary lacks everything")
OTHER_CHIP = Template("其目标芯片为 {told}, 而不是 {wanted}", "it is for the chip {told}, not {wanted}")
TOO_LARGE_TO_EMBED = Reason(
    "artefact_too_large", "context 二进制有 {mib} MiB; EPContext 模型最多容纳 {limit_mib} MiB",
    "the context binary has {mib} MiB; an EPContext model holds {limit_mib} MiB at most",
    "去掉 embed",
    "leave embed out")
DOES_NOT_LOAD = Reason("verify_failed", "产物无法重新加载: {said}", "the artefact does not load again: {said}", *_AGAIN)
_ANOTHER_PRECISION = ("尝试其他精度; verify.enabled = false 时不运行即交付",
                      "try another precision; verify.enabled = false delivers it without running it")
NOT_LOADED = Reason(
    "verify_failed",
    "产物无法在模拟器中加载: {said}",
    "the artefact does not load in the simulator: {said}",
                    *_ANOTHER_PRECISION)
NOT_RUN = Reason(
    "verify_failed",
    "产物无法在模拟器中运行: {said}",
    "the artefact does not run in the simulator: {said}",
                 *_ANOTHER_PRECISION)
SIMULATOR_LOST = Reason(
    "verify_failed", "编译器的模拟器运行产物时{end}", "the compiler's simulator, running the artefact, {end}",
    "这是工具自身的错误, 日志中有最后一步; 用 outputs 或 inputs 只转换模型的一部分可以找到它无法处理的算子",
    "the fault is the tool's own, and the log shows its last step; converting a part of the model (outputs, inputs) "
    "shows which operator it cannot take")
