"""The catalogue of this target's messages. They quote CANN's atc word for word."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

# --- atc itself
CANNOT_START = Reason("toolchain_broken", "atc 无法启动: {said}", "atc cannot be started: {said}",
                      "在 worker 上重新安装 CANN 工具包, 然后重试",
                      "install CANN's toolkit on the worker again, then retry")
ENDED_BY_SIGNAL = Reason("stage_crashed", "atc 被信号 {number} 终止", "atc was ended by signal {number}")
NO_CHECK_RESULT = Reason(
    "toolchain_broken", "atc 报告成功, 但没有写出可读的 {file}", "atc reported success but wrote no readable {file}",
    "查看日志; 在 worker 上重新安装 CANN 工具包", "see the log; install CANN's toolkit on the worker again")

# --- its errors. `{said}` are its words, `{solution}` is the vendor's advice, if it has one.
SOLUTION = Template("; 厂商建议: {said}", "; the vendor says: {said}")
DOES_NOT_COMPILE = Template("类型为 {type} 的算子 {name} 无法编译: {said}",
                            "operator {name} of type {type} does not compile: {said}")
MODULE_MISSING = Template("{said} (缺少 Python 模块 {module})", "{said} (the Python module {module} is missing)")


def _of_atc(code, hint_zh, hint_en):
    return Reason(code, "atc: {said}", "atc: {said}", hint_zh + "{solution}", hint_en + "{solution}")


_INSTALL = (
    "在 worker 上安装所缺内容: CANN 安装指南列出的 Python 包 (attrs, decorator, numpy, psutil, scipy, sympy, cffi, "
    "protobuf), 对应该芯片的 ops 包, 及其 set_env.sh",
    "install what is missing on the worker: the Python packages that CANN's installation guide lists (attrs, "
    "decorator, numpy, psutil, scipy, sympy, cffi, protobuf), its ops package for this chip, its set_env.sh")
_REPORT = (
    '日志中有最后一步; 发送 log = "debug" 可得到更多, 并连同模型报告给厂商',
    'the log has the last step; send log = "debug" for more, and report it to the vendor with the model')
_COMPILER = (
    "换一个 precision_mode (force_fp16), 在 keep_dtype 中列出该算子, 或导出不含该算子的模型; 更新的 CANN 支持更多算子",
    "try another precision_mode (force_fp16), name the operator in keep_dtype, or export the model without it; newer "
    "versions of CANN compile more")
BROKEN = _of_atc("toolchain_broken", *_INSTALL)
WRONG_FILE = _of_atc("option_invalid", "更正该文件并重新上传, 然后重试任务",
                     "correct the file and upload it again, then retry the task")
WRONG_NAME = _of_atc("option_invalid", "节点和输入的名称以所发送的模型为准; 可用 Netron 查看",
                     "names of nodes and inputs are those of the model as it was sent; Netron shows them")
WRONG_SHAPES = _of_atc(
    "input_shape_mismatch", "发送模型可用的 input_shape 和档位, 例如训练时的形状",
    "send input_shape and gears that the model can work with, such as the shape it was trained with")
CANNOT_READ_MODEL = _of_atc(
    "compile_failed", "atc 无法读取模型: 确认该 CANN 支持其 opset, 且模型小于 2 GiB 或旁边有外部数据",
    "atc cannot read the model: see that its opset is one that this CANN knows, and that it is below 2 GiB or has its "
    "external data beside it")
WRONG_OPTION = _of_atc(
    "option_invalid", "参阅 GET /platforms 所示 CANN 版本的 ATC 用户指南: 旧版本可能不接受新版本的取值",
    "see the option in the ATC user guide of the CANN version that GET /platforms shows: an older one refuses values "
    "that a newer one takes")
NOT_COMPILED = _of_atc("compile_failed", *_COMPILER)
OPERATOR_REFUSES = _of_atc(
    "compile_failed", "有算子不接受其形状, 类型或属性: 用其他设置或更低的 opset 导出模型",
    "an operator refuses its shapes, types or attributes: export the model with other settings or a lower opset")
RUNTIME_FAILED = _of_atc("toolchain_broken", "worker 上的运行时或驱动出错: 查看日志",
                         "the runtime or the driver failed on the worker: see the log")
FAILED = _of_atc("compile_failed", *_REPORT)
LIBRARY_MISSING = Reason(
    "toolchain_broken",
    "atc 无法加载: 缺少 {library}",
    "atc cannot be loaded: {library} is missing",
    *_INSTALL)
UNKNOWN_FLAG = Reason(
    "option_invalid", "此版本的 atc 没有选项 --{name}", "this version of atc does not know --{name}",
    "去掉该选项, 或将任务发送到 CANN 更新的 worker", "leave it out, or send the task to a worker with a newer CANN")
FAILED_WITHOUT_CODE = Reason("compile_failed", "atc 失败, 退出码 {code}: {said}", "atc failed with code {code}: {said}",
                             *_REPORT)

_UNSUPPORTED = ("unsupported_operator", "CANN 不支持: {names}", "CANN does not support: {names}")
UNSUPPORTED = Reason(
    *_UNSUPPORTED, "替换为 CANN 支持的算子, 或在其之前结束模型 (extra_params.out_nodes)",
    "replace them by operators that CANN supports, or end the model before them (extra_params.out_nodes)")
UNSUPPORTED_OPSET = Reason(
    *_UNSUPPORTED,
    "用更旧的 opset 导出模型, 因为 CANN 的解析器只支持到某个 opset; 或替换为 CANN 支持的算子, 或在其之前结束模型 "
    "(extra_params.out_nodes)",
    "export the model with an older opset, as CANN's parser knows each operator up to some opset; or replace them by "
    "operators that CANN supports, or end the model before them (extra_params.out_nodes)")
SEE_LOG = Bilingual("见日志", "see the log")

# --- the artefact
_AGAIN = ("重试; 如仍然失败, 在日志中查看 atc 未能写出什么",
          "try again; if it persists, see the log for what atc could not write")
NO_OM = Reason("compile_failed", "atc 报告成功, 但没有写出 .om", "atc reported success but wrote no .om", *_AGAIN)
SEVERAL_OM = Reason("compile_failed", "atc 报告成功, 但写出了多个 .om: {names}",
                    "atc reported success but wrote several .om: {names}", *_AGAIN)
NO_OFFLINE_MODEL = Reason(
    "compile_failed", "atc 报告成功, 但写出的不是离线模型: 开头为 {start!r}, 共 {size} 字节",
    "atc reported success but what it wrote is no offline model: it begins with {start!r} and has {size} bytes",
    *_AGAIN)
OM_CUT = Reason("compile_failed", "atc 报告成功, 但 .om 不完整: {size} / {wanted} 字节",
                "atc reported success but the .om is cut: {size} of {wanted} bytes", *_AGAIN)
_RETRY = ("重试; 如仍然失败, 请报告该模型", "try again; if it persists, report the model")
CANNOT_READ_OM = Reason("compile_failed", "atc 无法读取其写出的 .om: {said}",
                        "atc cannot read the .om that it wrote: {said}", *_RETRY)
NOT_DESCRIBED = Reason(
    "compile_failed",
    "atc 没有描述其写出的 .om",
    "atc does not describe the .om that it wrote",
    *_RETRY)

# --- parameters
RANGE_DOES_NOT_FIT = Reason(
    "input_shape_mismatch",
    "input_shape_range {part!r} 与模型不符",
    "input_shape_range {part!r} does not fit the model",
    "模型的输入为 {inputs}", "its inputs are {inputs}")
NOTHING_TO_FILL = Reason(
    "input_shape_mismatch", "{option} 没有可填充的维度: 模型没有这样的未固定维度",
    "{option} has nothing to fill: the model leaves no such dimension open",
    "导出在该处未固定维度的模型, 或去掉 {option}",
    "export the model with an open dimension there, or leave {option} out")
OTHER_GEARS = Reason(
    "input_shape_mismatch", "dynamic_dims 的每个档位有 {count} 个数值, 而模型有 {open} 个未固定的维度: {places}",
    "each gear of dynamic_dims has {count} numbers, and the model leaves {open} dimensions open: {places}",
    "在每个档位中为每个维度给出一个数值", "send one number for each of them in every gear")
NOT_ONE_FILE = Reason(
    "option_invalid", "{option} 是一个文件, 而该路径下有 {count} 个对象",
    "{option} is one file, and {count} objects lie below that path", "指明对象本身", "name the object itself")
CALIBRATES = Reason(
    "option_invalid", "compression_optimize_conf 要求校准, 这需要在 NPU 上用旁边的数据文件运行模型",
    "compression_optimize_conf asks for calibration, which runs the model on an NPU with data files beside it",
    "先用 AMCT 量化模型, 再发送部署模型; 仅接受 enable_first_layer_quantization",
    "quantize the model with AMCT first, and send the deployment model; enable_first_layer_quantization alone is taken")
