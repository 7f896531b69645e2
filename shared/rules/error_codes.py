"""The table of codes: why a task fails, why a request is refused, and what the pre-flight warns of.

A code is stable and machine-readable; a client may branch on it. `docs/error-codes.md` and the OpenAPI document are
made from this table (`python -m infra.error_codes`). A refusal with a code that is not in it cannot be made. Standard
library only, Python 3.8+: stages import it.
"""
from __future__ import annotations

from typing import NamedTuple

# Who raises a code.
PREFLIGHT = "preflight"  # the check before a task is created, and POST /tasks/validate
STAGE = "stage"  # a stage: what the model, the parameters, the calibration set or the toolchain do not allow
WORKER = "worker"  # the worker around a stage: limits, crashes, the object store
SERVICE = "service"  # what changes a task's document: a client's action, the reaper


class ErrorCode(NamedTuple):
    """One row. The hint is the general one; the refusal itself has one that names the field or the file."""

    raised_by: tuple[str, ...]
    meaning_zh: str
    meaning_en: str
    hint_zh: str
    hint_en: str


ERRORS: dict[str, ErrorCode] = {
    # --- the model's file
    "input_not_found": ErrorCode(
        (PREFLIGHT, STAGE),
        "模型或参数所指的对象不存在",
        "the model, or an object that a parameter names, is not there",
        "先上传, 再重试任务", "upload it, then retry the task"),
    "input_replaced": ErrorCode(
        (WORKER,), "启动任务的上传在转换开始前已被替换",
        "the upload that started the task was replaced before its conversion began",
        "新版本有自己的任务; 如需转换旧版本, 请重新上传",
        "the new version has a task of its own; to convert the old one, upload it again"),
    "input_digest_mismatch": ErrorCode(
        (STAGE,), "上传的内容与声明的 SHA-256 不符",
        "the content is not the one whose SHA-256 was announced with the upload",
        "重新创建上传和任务", "make a new upload, and a new task"),
    "model_empty": ErrorCode(
        (PREFLIGHT, STAGE), "模型文件为空", "the model file has no bytes", "重新上传", "upload it again"),
    "model_not_onnx": ErrorCode(
        (PREFLIGHT, STAGE), "文件不是 ONNX 模型", "the file is not an ONNX model", "导出为 ONNX 后上传",
        "export the model to ONNX"),
    "model_unreadable": ErrorCode(
        (PREFLIGHT, STAGE), "模型文件不完整或已损坏", "the model file is truncated or damaged",
        "与原文件核对大小和校验和, 然后重新上传", "compare size and checksum with the original, then upload it again"),
    "model_invalid": ErrorCode(
        (PREFLIGHT, STAGE), "模型不符合 ONNX 规范", "the model breaks the rules of ONNX", "重新导出模型",
        "export the model again"),
    "model_too_large": ErrorCode(
        (PREFLIGHT, STAGE), "模型超出大小上限", "the model is larger than allowed",
        "单个文件超过 2 GiB 时使用外部数据; 上限由服务端设置",
        "use external data above 2 GiB; the server sets the limit"),
    "model_too_complex": ErrorCode(
        (PREFLIGHT, STAGE), "模型的节点, 张量, 外部文件或子图层数过多, 或需要的计算过多",
        "the model has too many nodes, tensors, external files or nested subgraphs, or needs too much computing",
        "拆分或简化模型",
        "split or simplify the model"),
    "tensor_too_large": ErrorCode(
        (PREFLIGHT, STAGE), "单个张量的元素过多", "a tensor has too many elements", "拆分该张量, 或使用更小的维度",
        "split the tensor, or use smaller dimensions"),
    "external_data_missing": ErrorCode(
        (PREFLIGHT, STAGE), "模型旁缺少外部数据文件, 或该文件不完整",
        "an external data file is not beside the model, or is cut", "将外部数据文件上传到模型所在目录",
        "upload the external data files into the model's folder"),
    "external_data_outside": ErrorCode(
        (PREFLIGHT, STAGE), "外部数据文件的路径指向模型目录之外",
        "an external data file's path leads out of the model's folder", "重新保存模型, 使数据位于模型旁",
        "save the model again so that its data lies beside it"),
    # --- what is in the model
    "opset_unsupported": ErrorCode(
        (PREFLIGHT, STAGE), "模型的 opset 或 IR 版本过新", "the model's opset or IR version is too new",
        "用较低的 opset 重新导出", "export the model with a lower opset"),
    "unsupported_operator": ErrorCode(
        (PREFLIGHT, STAGE), "有算子不被 ONNX 或目标平台支持", "ONNX or the target does not support an operator",
        "替换这些算子, 或在其之前结束模型", "replace the operators, or end the model before them"),
    "unsupported_type": ErrorCode(
        (PREFLIGHT, STAGE), "输入或输出的数据类型不受支持", "the data type of an input or output is not supported",
        "用受支持的类型导出模型", "export the model with a supported type"),
    "dynamic_shape": ErrorCode(
        (PREFLIGHT, STAGE), "有形状未固定", "a shape is open", "发送 input_shape", "send input_shape"),
    "input_shape_mismatch": ErrorCode(
        (PREFLIGHT, STAGE), "给定的形状与模型不符", "the shapes that were sent do not fit the model",
        "只能指定模型未固定的维度", "only dimensions that the model leaves open can be chosen"),
    "fixed_input_mismatch": ErrorCode(
        (PREFLIGHT, STAGE), "fixed_inputs 的值与模型的输入不符",
        "a value of fixed_inputs does not fit the model's input",
        "按所指输入的类型和形状给出值", "send a value of the type and the shape of the input that the message names"),
    "tensor_not_found": ErrorCode(
        (STAGE,), "参数所指的张量不在模型中", "a tensor that a parameter names is not in the model",
        "使用模型中存在的名称", "use names that the model has"),
    # --- parameters and what they name
    "preprocessing_mismatch": ErrorCode(
        (PREFLIGHT, STAGE), "mean, std 等预处理参数与模型的输入不符",
        "mean, std or another preprocessing parameter does not fit the model's inputs", "按每个输入的通道数给出数值",
        "send a number for each channel of each input"),
    "layout_mismatch": ErrorCode(
        (STAGE,), "布局参数与模型不符", "a layout parameter does not fit the model", "去掉该布局参数",
        "leave the layout parameter out"),
    "option_invalid": ErrorCode(
        (STAGE,),
        "厂商工具不接受某个选项",
        "the vendor's tool does not take an option",
        "查阅该工具的文档, 更正或去掉该选项",
        "see the tool's documentation; correct the option or leave it out"),
    "option_refused": ErrorCode(
        (STAGE,), "已安装的工具版本没有所要求的选项", "the installed release of the tool lacks an option", "去掉该参数",
        "leave the parameter out"),
    "calibration_invalid": ErrorCode(
        (PREFLIGHT, STAGE), "校准集无法使用", "the calibration set cannot be used", "更正所指出的文件, 然后新建任务",
        "mend the file that the message names, then send a new task"),
    "test_inputs_invalid": ErrorCode(
        (PREFLIGHT, STAGE), "verify.inputs 所指的测试输入集无法使用",
        "the set of test inputs, verify.inputs, cannot be used",
        "更正所指出的文件, 然后新建任务", "mend the file that the message names, then send a new task"),
    "calibration_needs_device": ErrorCode(
        (STAGE,), "该精度的校准需要 worker 上没有的设备",
        "calibration for this precision needs a device that the worker does not have", "使用 fp16, 或有该设备的 worker",
        "use fp16, or a worker that has the device"),
    "too_many_files": ErrorCode(
        (PREFLIGHT, STAGE), "参数所指前缀下的对象过多", "too many objects lie below a prefix that a parameter names",
        "打包成一个 zip", "put them into one zip"),
    "input_too_large": ErrorCode(
        (STAGE,), "参数所指的文件超出大小上限", "the files that a parameter names are larger than allowed", "减少文件",
        "send fewer files"),
    "object_name_invalid": ErrorCode(
        (STAGE,),
        "对象名不能用作文件名",
        "an object's name cannot be a file's name",
        "重命名该对象",
        "rename the object"),
    # --- the toolchain and its artefact
    "compile_failed": ErrorCode(
        (STAGE,), "厂商工具未能转换模型", "the vendor's tool could not convert the model",
        "查看任务日志; 换一种精度, 或用其他设置导出模型",
        "see the task's log; try another precision, or another export"),
    "already_quantized": ErrorCode(
        (PREFLIGHT, STAGE), "模型已经量化, 无法按所要求的精度再次转换",
        "the model is quantised already, and cannot become what the precision asks for",
        "使用消息所述的精度, 或发送量化之前的浮点模型",
        "send the precision that the message names, or the floating-point model from before it was quantised"),
    "artefact_missing": ErrorCode(
        (STAGE,), "工具报告成功, 但没有留下产物", "the tool reported success and left no artefact", "请报告此问题",
        "report this"),
    "artefact_too_large": ErrorCode(
        (STAGE,), "产物超出单个文件的上限", "the artefact is too large for one file", "不使用单文件形式",
        "do not ask for a single file"),
    "toolchain_broken": ErrorCode(
        (STAGE, WORKER), "worker 上的工具链不完整或无法启动", "the worker's toolchain is incomplete or does not start",
        "在 worker 上重新安装工具链", "install the toolchain again on the worker"),
    "reference_failed": ErrorCode(
        (PREFLIGHT, STAGE), "ONNX Runtime 无法加载或运行原模型", "ONNX Runtime cannot load or run the model itself",
        "更正模型; verify.enabled = false 时只转换, 不比较",
        "mend the model; verify.enabled = false converts without comparing"),
    "verify_failed": ErrorCode(
        (STAGE,), "产物无法运行", "the artefact does not run", "换一种精度; verify.enabled = false 时不运行即交付",
        "try another precision; verify.enabled = false delivers it without running it"),
    "accuracy_too_low": ErrorCode(
        (STAGE,), "产物的输出与原模型相差过大", "the artefact's outputs differ too much from the model's",
        "换用更高的精度或更好的校准集; accept_accuracy = true 时照样交付",
        "use a higher precision or a better calibration set; accept_accuracy = true takes it as it is"),
    # --- the worker
    "timeout": ErrorCode(
        (WORKER,), "阶段运行超时", "a stage ran too long", "提高 limits.stage_time_s, 或使用更小的模型",
        "raise limits.stage_time_s, or send a smaller model"),
    "out_of_memory": ErrorCode(
        (WORKER,),
        "阶段内存不足",
        "a stage ran out of memory",
        "提高 limits.stage_memory_bytes, 或使用更小的模型或形状",
        "raise limits.stage_memory_bytes, or send a smaller model or shape"),
    "disk_full": ErrorCode(
        (WORKER,), "worker 的磁盘已满, 或阶段写入过多", "the worker's disk is full, or a stage wrote too much",
        "清理磁盘后重试", "make room, then retry"),
    "stage_crashed": ErrorCode(
        (STAGE, WORKER), "阶段异常结束, 没有给出原因", "a stage ended without a reason",
        "查看任务日志", "see the task's log"),
    "killed": ErrorCode(
        (WORKER,), "阶段被外部终止", "a stage was killed from outside", "多为机器内存不足: 增加内存, 或减少并发",
        "most often the machine ran out of memory: give it more, or fewer slots"),
    "input_unstable": ErrorCode(
        (WORKER,), "转换期间模型或缓存反复变化", "the model or the cache kept changing during the conversion",
        "停止写入后重试", "retry when nobody writes to them"),
    "output_conflict": ErrorCode(
        (PREFLIGHT, STAGE, WORKER), "结果会覆盖任务的输入或他人的对象, 或转换期间有其他程序写入 output_path",
        "a result would replace an input or somebody else's object, or somebody else wrote to output_path during the "
        "conversion", "换一个 output_path, 或重试; overwrite: true 替换已有的对象",
        "use another output_path, or retry; overwrite: true replaces what is there"),
    "storage_refused": ErrorCode(
        (WORKER,), "文件存储拒绝读写某个路径", "the object store refuses a path, and would again",
        "允许 worker 读写该路径, 或换一个 output_path, 然后重试",
        "let the workers read and write there, or choose another output_path; then retry"),
    "storage_unavailable": ErrorCode(
        (WORKER,), "文件存储长时间没有应答", "the object store did not answer for a long time",
        "文件存储恢复后重试", "retry when the object store answers again"),
    "version_mismatch": ErrorCode(
        (WORKER,), "任务由另一版本的服务创建, 此 worker 无法执行",
        "the task is of another version of the service, and this worker cannot run it",
        "所有 worker 升级到该版本后重试", "retry when all workers are of that version"),
    "internal_error": ErrorCode(
        (WORKER,), "worker 内部错误", "an error inside the worker", "查看 worker 的日志", "see the worker's log"),
    # --- the task
    "cancelled": ErrorCode(
        (SERVICE,), "任务已被客户端取消", "a client cancelled the task", "重试即从最后完成的阶段继续",
        "a retry goes on after the last finished stage"),
    "worker_lost": ErrorCode(
        (SERVICE,), "执行任务的 worker 反复失联", "the task's workers died again and again",
        "该阶段需要的内存可能超过 worker 所有", "the stage may need more memory than the worker has"),
}

WARNINGS: dict[str, ErrorCode] = {
    "operator_not_standard": ErrorCode(
        (PREFLIGHT,), "有算子不在 ONNX 标准之内", "an operator is outside the ONNX standard", "是否支持取决于目标平台",
        "whether it is supported depends on the target"),
    "operator_uncertain": ErrorCode(
        (PREFLIGHT,), "目标平台可能不支持某个算子", "the target may not support an operator", "转换时方可确定",
        "only the conversion tells"),
    "operators_not_checked": ErrorCode(
        (PREFLIGHT,), "没有该目标平台的算子清单", "there is no list of the target's operators", "转换时方可确定",
        "only the conversion tells"),
    "model_quantized": ErrorCode(
        (PREFLIGHT,), "模型已经量化", "the model is quantised already",
        "产物沿用模型自带的整数比例; 需要其他比例时发送浮点模型",
        "the artefact keeps the model's own integer scales; send the floating-point model for others"),
    "input_decides_shape": ErrorCode(
        (PREFLIGHT,), "某个输入的值决定形状或轴", "the values of an input decide shapes or axes",
        "用 fixed_inputs 给出该输入的值", "send the input's value in fixed_inputs"),
    "scales_joined": ErrorCode(
        (PREFLIGHT,), "某个输出合并了不同范围的值", "an output joins values of different ranges",
        "用 outputs 在合并之前结束模型", "end the model before they are joined, with outputs"),
    "shape_chosen": ErrorCode(
        (PREFLIGHT,),
        "某个未固定的维度已自动取值",
        "an open dimension was given a value",
        "需要其他值时发送 input_shape",
        "send input_shape for another value"),
    "preflight_incomplete": ErrorCode(
        (PREFLIGHT,), "检查未覆盖全部内容", "not everything was checked", "转换时会检查其余部分",
        "the conversion checks the rest"),
}

CODES: dict[str, ErrorCode] = {**ERRORS, **WARNINGS}


def check_code(code: str) -> str:
    """The code itself.

    Raises:
        ValueError: the table does not have it.
    """
    if code not in CODES:
        raise ValueError(f"{code!r} is not in shared.rules.error_codes")
    return code


def describe(codes: dict[str, ErrorCode]) -> str:
    """The codes of a field, for the OpenAPI document (Markdown)."""
    rows = "\n".join(f"- `{code}`: {row.meaning_zh} / {row.meaning_en}" for code, row in sorted(codes.items()))
    return f"后续版本可能增加代码。 / Later versions may have further codes.\n\n{rows}"
