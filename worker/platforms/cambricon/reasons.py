"""The catalogue of this target's messages. They quote MagicMind word for word."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

# --- a call that failed: `{what}` is one of these
MAKE_NETWORK = Bilingual("创建网络", "make a network")
MAKE_PARSER = Bilingual("创建解析器", "make a parser")
PARSE = Bilingual("解析模型", "parse the model")
GIVE_SHAPE = Template("将输入 {name!r} 的形状设为 {shape}", "give input {name!r} the shape {shape}")
MAKE_CONFIGURATION = Bilingual("创建配置", "make a configuration")
TAKE_PIECE = Template("接受 {piece}", "take {piece}")
MAKE_BUILDER = Bilingual("创建构建器", "make a builder")
BUILD = Bilingual("构建模型", "build the model")
WRITE = Bilingual("写出产物", "write the artefact")
TAKE_SET = Bilingual("接受校准集", "take the calibration set")
TAKE_ALGORITHM = Bilingual("接受 quantization_algorithm", "take the quantization_algorithm")
QUANTIZE = Bilingual("量化模型", "quantize the model")

# --- why nothing is compared
EDGE_ONLY = Template("{chip} 的模型只能在边缘设备上运行", "models for {chip} run on the edge device only")
NO_MLU = Bilingual("worker 没有 MLU, 而 MagicMind 没有模拟器", "the worker has no MLU, and MagicMind has no simulator")
OTHER_MLU = Template("{chip} 的模型在 {wanted} 上运行, 而 worker 有的是 {card}",
                     "models for {chip} run on an {wanted}, and the worker has an {card}")
NOT_CHECKED = Template("未检查精度: {reason}", "the accuracy was not checked: {reason}")

_CANNOT = ("MagicMind 无法{what}: {said}", "MagicMind cannot {what}: {said}")
NO_REASON = Bilingual("没有给出原因; 见日志", "it gives no reason; see the log")
CANNOT = Reason("compile_failed", *_CANNOT, "查看该阶段的日志; 用其他设置导出模型, 或报告此问题",
                "see the stage's log; export the model with other settings, or report it")
CANNOT_TAKE_SHAPE = Reason("input_shape_mismatch", *_CANNOT, "发送模型可用的 input_shape",
                           "send an input_shape that the model can work with")
CANNOT_QUANTIZE = Reason(
    "compile_failed", *_CANNOT, "查看该阶段的日志; 确认样本是模型实际处理的数据, 或尝试 precision fp16",
    "see the stage's log; check that the samples are what the model works on, or try precision fp16")


CANNOT_TAKE_OPTION = Reason(
    "option_refused", *_CANNOT, "已安装的版本没有 parameters.{parameter} 所要求的内容: 去掉该参数",
    "the installed release does not have what parameters.{parameter} asks for: leave it out")

_REFUSES = ("unsupported_operator", "MagicMind 无法{what}, 不支持: {operators}",
            "MagicMind cannot {what}, it refuses: {operators}")
OPERATORS_REFUSED = Reason(
    *_REFUSES, "替换为 MagicMind 支持的算子, 或在其之前结束模型",
    "replace them by operators that MagicMind supports, or end the model before them")
OPERATORS_TOO_NEW = Reason(
    *_REFUSES,
    "模型的 opset 为 {opset}; MagicMind 的解析器可能只支持 opset {known} 的这些算子: 用 opset_version={known} 导出, "
    "或在其之前结束模型",
    "the model's opset is {opset}; MagicMind's parser may know these operators as they were in opset {known}: export "
    "with opset_version={known}, or end the model before them")

# --- what it left
OTHER_INPUTS = Reason(
    "compile_failed", "MagicMind 在模型中找到 {found} 个输入, ONNX 有 {count} 个",
    "MagicMind finds {found} inputs in the model, ONNX has {count}",
    "导出时去掉没有被使用的输入", "export the model without inputs that nothing reads")
NO_FILE = Reason(
    "compile_failed", "MagicMind 报告成功, 但没有写出文件", "MagicMind reported success but wrote no file",
    "查看该阶段的日志; 重试, 如仍然失败请报告该模型", "see the stage's log; retry, and if it persists report the model")
ENDS = {"inputs": Bilingual("输入", "inputs"), "outputs": Bilingual("输出", "outputs")}
OTHER_ENDS = Reason(
    "compile_failed",
    "产物有 {found} 个{kind}, 模型有 {count} 个",
    "the artefact has {found} {kind}, the model {count}",
    "请报告此问题: 转换丢失或增加了一个", "report this: the conversion lost or added one")
STILL_DYNAMIC = Reason(
    "dynamic_shape", "形状已固定, 但产物的输入仍为动态: {names}",
    "the artefact's inputs are dynamic although shapes were fixed: {names}",
    "请报告此问题; 有意生成动态产物时使用 dim_range", "report this; dim_range makes a dynamic artefact on purpose")
_UNREADABLE = ("MagicMind 无法重新读取产物: {said}", "MagicMind cannot read the artefact again: {said}",
               "重试; 如仍然失败, 请报告该模型", "retry; if it persists, report the model")
UNREADABLE = Reason("compile_failed", *_UNREADABLE)
UNREADABLE_AT_VERIFY = Reason("verify_failed", *_UNREADABLE)

# --- calibration
NEEDS_DEVICE = Reason(
    "calibration_needs_device", "precision {precision} 需要在 MLU 上校准, 而此 worker 没有 MLU",
    "precision {precision} is calibrated on an MLU, and this worker has none",
    "在有 MLU 的机器上运行 worker, 或在此 worker 上将 {setting} 设为有 MLU 的 MagicMind RPC 服务的 HOST:PORT; "
    "precision fp16 不需要 MLU",
    "run a worker on a machine with an MLU, or set {setting} on it to the HOST:PORT of a MagicMind RPC server that has "
    "one; precision fp16 needs none")
NO_SAMPLE_READ = Reason(
    "compile_failed", "MagicMind 报告成功, 但没有读取任何校准样本",
    "MagicMind reported success but read no calibration sample",
    "请连同该阶段的日志报告此问题", "report this, with the stage's log")

# --- parameters
NOTHING_IS_NCHW = Reason(
    "layout_mismatch",
    "{parameter} nhwc: 没有 NCHW 的张量 ({tensors})",
    "{parameter} nhwc: nothing here is NCHW ({tensors})",
    "去掉 {parameter}", "leave {parameter} out")
_DIM_RANGE = (
    "dim_range: {{input: {{min: [1, 3, 224, 224], max: [8, 3, 224, 224]}}}}, input_shape 位于其间",
    "dim_range: {{input: {{min: [1, 3, 224, 224], max: [8, 3, 224, 224]}}}}, with input_shape between")
UNKNOWN_IN_RANGE = Reason(
    "input_shape_mismatch", "dim_range: 模型没有输入 {unknown}; 其输入为: {names}",
    "dim_range: the model has no input {unknown}; its inputs: {names}", *_DIM_RANGE)
OTHER_RANK = Reason(
    "input_shape_mismatch", "dim_range 为输入 {name!r} 给出了 {count} 个维度, 而它有 {rank} 个",
    "dim_range gives input {name!r} {count} dimensions, it has {rank}", *_DIM_RANGE)
OUTSIDE_OF_RANGE = Reason(
    "input_shape_mismatch", "输入 {name!r} 的形状 {shape} 不在其 dim_range {least} 到 {most} 之内",
    "input {name!r} of shape {shape} is outside of its dim_range {least} to {most}", *_DIM_RANGE)
NO_CROSS_COMPILER = Reason(
    "toolchain_broken", "{chip} 的模型需要用交叉工具链链接, 而此 worker 没有",
    "models for {chip} are linked with a cross toolchain, and this worker has none",
    "在 worker 上将 {setting} 设为厂商推荐的工具链 gcc-linaro-6.2.1-2016.11-x86_64_aarch64-linux-gnu 所在的文件夹",
    "set {setting} on the worker to the folder of the toolchain that the vendor recommends, "
    "gcc-linaro-6.2.1-2016.11-x86_64_aarch64-linux-gnu")

# --- the device
DEVICE_LOST = Reason(
    "toolchain_broken", "worker 的 MLU 无法打开: {said}", "the worker's MLU cannot be opened: {said}",
    "在 worker 所在机器上查看 cnmon, 重新启动 worker, 然后重试",
    "see cnmon on the worker's machine, start the worker again, then retry")
NONE_ANY_MORE = Bilingual("已没有 MLU", "there is none any more")
DOES_NOT_RUN = Reason(
    "verify_failed", "产物无法在 worker 的 MLU 上运行: {said}", "the artefact does not run on the worker's MLU: {said}",
    "确认 chip 与 worker 的卡一致; verify.enabled = false 时不运行即交付",
    "check that chip is that of the worker's card; verify.enabled = false delivers it without running it")
NOT_MADE = Template("MagicMind 未能由其创建 {what}; 见日志", "MagicMind makes no {what} of it; see the log")
