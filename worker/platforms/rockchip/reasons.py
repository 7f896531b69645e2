"""The catalogue of this target's messages. They quote rknn-toolkit2 word for word."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

# --- what came of it
NOT_TAKEN = Reason(
    "unsupported_operator", "NPU 的编译器不支持: {kinds} ({names})",
    "the NPU's compiler has nothing for: {kinds} ({names})",
    "替换为其支持的算子, 或在其之前结束模型 (参数 outputs), 其余部分在 CPU 上计算",
    "replace them by operators that it has, or end the model before them (parameter outputs) and compute the rest on "
    "the CPU")
SUSPECTED = Reason(
    "unsupported_operator", "rknn-toolkit2 {end}; 它无法处理: {names}",
    "rknn-toolkit2 {end}; it has no way with: {names}",
    "导出不含控制流和 ONNX 标准之外算子的模型",
    "export the model without control flow and without operators outside the ONNX standard")
_LAYER = ("日志中指明了层; 尝试其他精度, 或只转换模型的一部分 (参数 inputs 和 outputs)",
          "the log names the layer; try another precision, or a smaller part of the model (parameters inputs and "
          "outputs)")
FAILED = Reason("compile_failed", "rknn-toolkit2 {end}: {said}", "rknn-toolkit2 {end}: {said}", *_LAYER)
FAILED_SILENTLY = Reason("compile_failed", "rknn-toolkit2 {end}", "rknn-toolkit2 {end}", *_LAYER)
RECURRENT = Reason(
    "compile_failed", "rknn-toolkit2 {end}, 这是工具自身的错误; 模型含有循环层: {names}; 工具最后的警告: {said}",
    "rknn-toolkit2 {end}, a fault of the tool itself; the model has recurrent layers: {names}; the tool's last "
    "warning: {said}",
    "使用 precision fp16, 或用 custom_hybrid 将这些层保留为浮点 (从该层之前的张量到其后的张量)",
    "send precision fp16, or leave these layers in floating point with custom_hybrid, from a tensor before them to one "
    "behind them")
PIECE_FAILED = Reason(
    "compile_failed", "rknn-toolkit2 报告成功, 但日志表明产物缺少一部分: {said}",
    "rknn-toolkit2 reported success, but by its log a piece of the artefact is missing: {said}", *_LAYER)
INTEGERS_NOT_QUANTIZED = Reason(
    "unsupported_type",
    "rknn-toolkit2 无法量化带有这些输入的模型: {inputs}; 它报告成功, 但日志表明产物缺少一部分: {said}",
    "rknn-toolkit2 cannot quantise a model with these inputs: {inputs}; it reported success, but by its log a piece of "
    "the artefact is missing: {said}",
    "用 float32 输入导出模型, 或使用 precision fp16",
    "export the model with inputs of float32, or send precision fp16")
KEEPS_ITS_SCALES = Template(
    "模型已经量化: 采用模型自带的比例, 未使用校准集",
    "the model is quantised already: its own scales were taken, the calibration set was not used")
QUANTIZED_ALREADY = Reason(
    "already_quantized", "模型已经量化, rknn-toolkit2 不会再次将其量化为 {precision}",
    "the model is quantised already, and rknn-toolkit2 does not quantise it to {precision} a second time",
    "使用 precision int8, 此时采用模型自带的比例; 或发送量化之前的浮点模型",
    "send precision int8, which takes the model's own scales; or send the floating-point model from before it was "
    "quantised")
RULES_DISABLED = Template(
    "rknn-toolkit2 在自身的优化规则中失败, 已按其建议停用后重新运行 (disable_rules): {names}",
    "rknn-toolkit2 failed in a rule of its own optimiser, and was run again without it, as it advises (disable_rules): "
    "{names}")
UNUSED_INPUTS = Template("没有算子使用这些输入, 产物中没有它们: {names}",
                         "nothing reads these inputs, and the artefact has none of them: {names}")
NO_WHOLE_FILE = Reason(
    "compile_failed", "rknn-toolkit2 报告成功, 但没有写出完整的 RKNN 文件: {said}",
    "rknn-toolkit2 reported success but wrote no whole RKNN file: {said}",
    "重试; 如仍然失败, 请报告该模型", "try again; if it persists, report the model")
NO_MAGIC = Bilingual("开头不是 RKNN 字节", "it does not begin with the bytes RKNN")
PARTS_DO_NOT_FIT = Template("各部分不一致: 共 {size} 字节, 载荷 {payload} 字节",
                            "its parts do not fit together: {size} bytes with a payload of {payload}")
DOES_NOT_RUN = Reason(
    "verify_failed", "模拟器无法运行工具包构建的产物", "the simulator does not run what the toolkit has built",
    "日志中有原因; verify.enabled = false 时不运行即交付",
    "the log says why; verify.enabled = false delivers it without running it")

# --- parameters and inputs
NO_TENSOR_IN_GRAPH = Reason(
    "tensor_not_found", "工具包的图中没有张量 {names}", "the toolkit's graph has no tensor {names}",
    "custom_hybrid 使用工具包融合之后的张量名; error_analysis 会列出它们",
    "custom_hybrid names tensors as the toolkit has them after its own fusing; error_analysis lists them")
TYPES_NOT_TAKEN = Reason(
    "unsupported_type", "rknn-toolkit2 不接受这些类型的输入: {inputs}",
    "rknn-toolkit2 takes no inputs of these types: {inputs}",
    "用 float32 输入导出模型; 量化由 precision 选择",
    "export the model with inputs of float32; quantization is chosen by precision")
NO_DIMENSIONS = Reason(
    "unsupported_type", "rknn-toolkit2 不接受没有维度的输入 (标量): {names}",
    "rknn-toolkit2 takes no inputs without dimensions: {names}",
    "用 fixed_inputs 固定其值, 或以形状 [1] 导出该输入",
    "fix its value with fixed_inputs, or export the input with the shape [1]")
OPSET_TOO_NEW = Reason(
    "opset_unsupported",
    "rknn-toolkit2 读取 opset {newest} 及以下的模型, 该模型为 opset {opset}, 无法转换为 {newest}: {said}",
    "rknn-toolkit2 reads models up to opset {newest}; this one is of opset {opset}, and cannot be written in "
    "{newest}: {said}", "以 opset {newest} 或更低导出模型", "export the model with opset {newest} or lower")
CHANNELS_LAST = Reason(
    "preprocessing_mismatch", "输入 {name!r} 的形状为 {shape}, 通道在最后; rknn-toolkit2 将 mean 和 std 用于维度 1",
    "input {name!r} of shape {shape} has its channels last; rknn-toolkit2 applies mean and std to dimension 1",
    "用 [N, C, H, W] 输入导出模型, 或将 mean 和 std 放入模型",
    "export the model with inputs [N, C, H, W], or put mean and std into the model")
