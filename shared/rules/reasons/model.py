"""What is said of a model."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

# --- the file
EMPTY = Reason(
    "model_empty", "模型文件为空 (0 字节)", "the model file is empty (0 bytes)",
    "重新上传该文件", "upload the file again")
PROTO_TOO_LARGE = Reason(
    "model_too_large", "{file} 有 {size} 字节; 单个 ONNX 文件最大 2 GiB",
    "{file} has {size} bytes; one ONNX file holds at most 2 GiB",
    "用外部数据保存模型: onnx.save(model, path, save_as_external_data=True)",
    "save the model with external data: onnx.save(model, path, save_as_external_data=True)")
TOO_LARGE = Reason(
    "model_too_large", "模型及其数据超过 {limit_mib} MiB", "the model and its data are larger than {limit_mib} MiB",
    "在 worker 上提高 MODEL_CONVERT_MAX_MODEL_BYTES", "raise MODEL_CONVERT_MAX_MODEL_BYTES on the workers")
OTHER_FORMAT = Reason(
    "model_not_onnx", "该文件是 {format}, 不是 ONNX 模型", "the file is {format}, not an ONNX model",
    "将模型导出为 ONNX (PyTorch: torch.onnx.export), 然后发送 .onnx 文件",
    "export the model to ONNX (for PyTorch: torch.onnx.export) and send the .onnx file")
UNREADABLE = Reason(
    "model_unreadable", "这 {size} 字节不是可读的 ONNX 模型: 不完整或已损坏",
    "the {size} bytes are no readable ONNX model: truncated or damaged",
    "与原文件核对大小和校验和, 然后重新上传; onnx.checker.check_model(path) 可检查原文件是否完好",
    "compare size and checksum with the original and upload it again; onnx.checker.check_model(path) tells whether the "
    "original itself is sound")
NOT_TEXT = Reason(
    "model_invalid", "模型中的名称不是 UTF-8 文本: {name!r}", "a name in the model is no UTF-8 text: {name!r}",
    "文件已损坏, 或导出工具有误: 重新导出模型",
    "the file is damaged, or its exporter is at fault: export the model again")
NO_GRAPH = Reason(
    "model_not_onnx", "文件中没有 ONNX 计算图", "the file has no ONNX graph in it",
    "将模型导出为 ONNX, 然后发送 .onnx 文件", "export the model to ONNX and send the .onnx file")
TOO_DEEP = Reason(
    "model_too_complex", "子图嵌套超过 {limit} 层", "subgraphs are nested more than {limit} deep",
    "展平模型的 If, Loop 和 Scan 子图", "flatten the model's If, Loop and Scan bodies")
TOO_MANY_ENTRIES = Reason(
    "model_too_complex", "模型的节点和张量超过 {limit} 个", "the model has more than {limit} nodes and tensors",
    "拆分模型, 或在转换前简化", "split the model, or simplify it before the conversion")
TOO_MANY_FIELDS = Reason(
    "model_too_complex", "模型结构 (节点, 属性, 形状) 的组成部分超过 {limit} 个",
    "the nodes, attributes and shapes of the model have more than {limit} parts",
    "拆分模型, 或在转换前简化", "split the model, or simplify it before the conversion")
TOO_MANY_ATTRIBUTES = Reason(
    "model_too_complex", "模型的节点共有超过 {limit} 个属性", "the model's nodes have more than {limit} attributes",
    "拆分模型, 或在转换前简化", "split the model, or simplify it before the conversion")
TOO_MANY_NODES = Reason(
    "model_too_complex", "模型有 {count} 个节点; 最多转换 {limit} 个",
    "the model has {count} nodes; at most {limit} are converted",
    "拆分模型, 或在转换前简化", "split the model, or simplify it before the conversion")
EXPANDS_TOO_FAR = Reason(
    "model_too_complex", "模型的函数展开后超过 {limit} 个节点",
    "the model's functions expand to more than {limit} nodes",
    "用 onnx.inliner 内联函数并简化模型", "inline the functions with onnx.inliner, and simplify the model")

TOO_MUCH_TO_TELL = Reason(
    "model_too_complex", "模型的输入, 输出和算子的名称超过 {limit_mib} MiB",
    "the names of the model's inputs, outputs and operators take more than {limit_mib} MiB",
    "减少输入和输出, 或缩短名称", "give the model fewer inputs and outputs, or shorter names")

# --- other formats than ONNX, by their first bytes
ZIP = Bilingual("zip 压缩包 (PyTorch 和 Keras 的保存格式)", "a zip archive (PyTorch and Keras save such)")
TORCH_PICKLE = Bilingual("Python pickle (PyTorch 的保存格式)", "a Python pickle (PyTorch saves such)")
PICKLE = Bilingual("Python pickle", "a Python pickle")
NPY = Bilingual("NumPy 数组", "a NumPy array")
HDF5 = Bilingual("HDF5 文件 (Keras 的保存格式)", "an HDF5 file (Keras saves such)")
GZIP = Bilingual("gzip 压缩包", "a gzip archive")
RKNN = Bilingual("RKNN 模型", "an RKNN model")
GGUF = Bilingual("GGUF 模型", "a GGUF model")
PROGRAM = Bilingual("可执行程序", "a program")
XML = Bilingual("XML 或 HTML 文档", "an XML or HTML document")
JSON = Bilingual("JSON 文档", "a JSON document")
TFLITE = Bilingual("TFLite 模型", "a TFLite model")
SAFETENSORS = Bilingual("safetensors 文件", "a safetensors file")

# --- versions, operators, inputs and outputs
_LOWER_OPSET = ("用不高于 {newest_opset} 的 opset 重新导出模型; 17 在所有平台上均可用",
                "export the model again with an opset of at most {newest_opset}; 17 is understood everywhere")
IR_TOO_NEW = Reason(
    "opset_unsupported", "模型的 IR 版本为 {version}; 本服务最高支持 {newest}",
    "the model's IR version is {version}; this service reads up to {newest}", *_LOWER_OPSET)
OPSET_TOO_NEW = Reason(
    "opset_unsupported", "模型的 opset 为 {version}; 本服务最高支持 {newest_opset}",
    "the model's opset is {version}; this service reads up to {newest_opset}", *_LOWER_OPSET)
NO_OPSET = Reason(
    "model_invalid", "模型没有声明 opset: 文件结尾缺失, 或导出工具有误",
    "the model names no opset: its end is missing, or its exporter is at fault",
    "与原文件核对, 或重新导出", "compare the file with the original, or export it again")
UNKNOWN_OPERATORS = Reason(
    "unsupported_operator", "opset {opset} 中没有这些算子: {names}", "no known operators in opset {opset}: {names}",
    "替换为标准 ONNX 算子, 或用包含它们的 opset 导出",
    "replace them by standard ONNX operators, or export with an opset that has them")
BEYOND_STANDARD = Template(
    "不在 ONNX 标准之内, 是否可用取决于目标平台: {names}",
    "outside the ONNX standard, so it depends on the target: {names}")
QUANTIZED_ALREADY = Template(
    "模型已经量化 ({names}): 产物沿用模型自带的整数比例, precision 只决定其余部分; 报告中的 precision 为产物的实际精度",
    "the model is quantised already ({names}): the artefact keeps the model's own integer scales, and precision is for "
    "the rest of it alone; the report's precision is what the artefact is")
NO_OUTPUT = Reason("model_invalid", "模型没有输出", "the model has no output", "导出时至少保留一个输出",
                   "export it with at least one output")
TYPE_NOT_TAKEN = Reason(
    "unsupported_type", "{name!r} 的类型为 {dtype}, 所有目标平台均不支持",
    "{name!r} is of type {dtype}, which no target takes",
    "只转换模型中处理数值的部分", "convert the part of the model that works on numbers")
BREAKS_RULES = Reason(
    "model_invalid", "模型不符合 ONNX 规范: {said}", "the model breaks ONNX's rules: {said}",
    "重新导出模型; onnx.checker.check_model(path) 会给出同样的错误",
    "export the model again; onnx.checker.check_model(path) shows the same error")

# --- tensors
NEGATIVE_DIMENSION = Reason(
    "model_invalid", "张量 {name!r} 有负的维度: {dims}", "tensor {name!r} has a negative dimension: {dims}",
    "重新导出模型", "export the model again")
TOO_MANY_ELEMENTS = Reason(
    "tensor_too_large", "张量 {name!r} 的形状为 {dims}, 有 {count} 个元素; 最多转换 {limit} 个",
    "tensor {name!r} of shape {dims} has {count} elements; at most {limit} are converted",
    "拆分该张量, 或以更小的维度转换模型", "split such a tensor, or convert the model with smaller dimensions")
ENDLESS = Bilingual("2^64 或更多", "2^64 or more")
UNKNOWN_DATA_TYPE = Reason(
    "model_invalid", "张量 {name!r} 的数据类型未知: {number}", "tensor {name!r} has the unknown data type {number}",
    "重新导出模型, 或使用更旧的 ONNX opset", "export the model again, or with an older ONNX opset")
UNITS = {"bytes": Bilingual("字节", "bytes"), "values": Bilingual("个值", "values")}
WRONG_LENGTH = Reason(
    "model_invalid", "张量 {name!r} 的形状为 {dims}, 类型为 {type}, 需要 {want} {unit}, 实际为 {have}",
    "tensor {name!r} of shape {dims} needs {want} {unit} of {type} and holds {have}",
    "文件已损坏, 或导出工具有误: 重新导出模型",
    "the file is damaged, or its exporter is at fault: export the model again")

# --- external data
NOT_PLAIN = Bilingual("不是模型目录下的普通路径", "is not a plain path below the model's folder")
BEHIND_A_LINK = Bilingual("是链接, 或位于链接之后", "is or lies behind a link")
DATA_OUTSIDE = Reason(
    "external_data_outside", "外部数据文件 {location!r} {why}", "the external data file {location!r} {why}",
    '重新保存模型, 使数据位于模型旁: onnx.save(model, path, save_as_external_data=True, location="weights.bin")',
    "save the model again so that its data lies beside it: "
    'onnx.save(model, path, save_as_external_data=True, location="weights.bin")')
TOO_MANY_DATA_FILES = Reason(
    "model_too_complex", "模型引用了 {count} 个外部数据文件; 最多获取 {limit} 个",
    "the model names {count} external data files; at most {limit} are fetched",
    "将权重保存到一个文件: onnx.save(…, all_tensors_to_one_file=True)",
    "save the weights in one file: onnx.save(…, all_tensors_to_one_file=True)")
WRONG_RANGE = Reason(
    "model_invalid", "张量 {name!r} 的形状为 {dims}, 所引用的 {location!r} 中的字节与形状不符: "
    "offset {offset}, length {length}",
    "tensor {name!r} of shape {dims} names bytes of {location!r} that do not fit its shape: offset {offset}, length "
    "{length}", "重新导出模型", "export the model again")
DATA_CUT = Reason(
    "external_data_missing", "张量 {name!r} 到 {location!r} 的第 {end} 字节结束, 而该文件只有 {size} 字节",
    "tensor {name!r} ends at byte {end} of {location!r}, which has only {size}",
    "该文件不完整, 或属于另一个模型: 重新上传", "the file is cut or belongs to another model: upload it again")
DATA_MISSING = Reason(
    "external_data_missing", "模型的外部数据文件 {location!r} 不在模型旁",
    "the model's external data file {location!r} is not beside it", "上传到 {path}", "upload it as {path}")
TENSORS_DATA_MISSING = Reason(
    "external_data_missing", "张量 {name!r} 位于 {location!r}, 该文件不在模型旁",
    "tensor {name!r} lies in {location!r}, which is not beside the model",
    "将外部数据文件按模型使用的名称上传到模型所在目录",
    "upload the external data files into the model's folder, under the names that it uses")

# --- where the results go
OUTPUT_OVER_INPUT = Reason(
    "output_conflict", "结果会覆盖任务的输入 {path}", "a result would be written over the task's input {path}",
    "换一个 output_path", "choose another output_path")

# --- what is left of it
NOTHING_TO_COMPUTE = Reason(
    "unsupported_operator", "没有输出依赖于输入: NPU 没有可计算的内容",
    "no output depends on an input: nothing is left for an NPU to compute",
    "输出是常量: 直接使用其值, 或发送用输入计算的模型",
    "the outputs are constants: take their values, or send a model that computes with its inputs")
