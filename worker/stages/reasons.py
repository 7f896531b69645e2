"""The catalogue of messages of the stages that all targets share. Messages about uploads are in `shared.rules.reasons`.
Standard library only."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

# --- fetch, and the objects that parameters name
NO_MODEL = Reason("input_not_found", "没有对象 {path}", "there is no object {path}", "先上传模型, 再重试任务",
                  "upload the model first, then retry the task")
WRITTEN_MEANWHILE = Template("{path} 在此期间被写入", "{path} was written to meanwhile")
REMOVED_MEANWHILE = Template("{path} 在此期间被删除", "{path} was removed meanwhile")
COMPANION_WRITTEN = Template("{path} 旁的文件在此期间被写入", "a file beside {path} was written to meanwhile")
OTHER_DIGEST = Reason(
    "input_digest_mismatch", "{path} 的 SHA-256 为 {found}, 上传时声明的是 {wanted}",
    "{path} has the SHA-256 {found}, and {wanted} was announced with the upload",
    "内容在传输中损坏, 或声明有误: 核对后重新创建上传和任务",
    "it was damaged on its way, or the announced one is wrong: compare them, then make a new upload and a new task")
RECORD_UNREADABLE = Reason(
    "input_digest_mismatch", "{path} 所属上传的声明已损坏, 无法核对",
    "what was announced of the upload of {path} is damaged, and nothing can be compared with it",
    "重新创建上传和任务", "make a new upload, and a new task")
FILES_TOO_LARGE = Reason(
    "input_too_large", "parameters.{parameter} 的文件超过 {limit_mib} MiB",
    "the files of parameters.{parameter} are larger than {limit_mib} MiB",
    "减少文件, 或在 worker 上提高 MODEL_CONVERT_MAX_MODEL_BYTES",
    "send fewer, or raise MODEL_CONVERT_MAX_MODEL_BYTES on the workers")
NAME_INVALID = Reason(
    "object_name_invalid", "parameters.{parameter} 下的一个对象不能作为文件: {name!r}",
    "an object below parameters.{parameter} cannot be a file: {name!r}",
    "名称的任何一段不得为空, '.', '..' 或超过 255 字节, 且对象不得与其他对象的文件夹同名",
    "no part of a name may be empty, '.', '..' or longer than 255 bytes, and no object may have the name of a folder "
    "of others")

# --- optimize
DOES_NOT_FIT = Reason(
    "input_shape_mismatch", "模型与其输入形状不符: {said}", "the model does not fit its input shapes: {said}",
    "发送模型可用的 input_shape, 例如训练时的形状; 许多网络要求 32 的倍数",
    "send an input_shape that the model can work with, such as the one it was trained with; many networks need "
    "multiples of 32")
REFUSED = Reason(
    "model_invalid", "ONNX Runtime 拒绝该模型: {said}", "ONNX Runtime refuses the model: {said}",
    "重新导出模型, 并确认 onnxruntime.InferenceSession(path) 能够加载",
    "export the model again and see that onnxruntime.InferenceSession(path) loads it")

CONSTANTS_TOO_LARGE = Reason(
    "model_too_complex", "模型的常量计算后超过单个 ONNX 文件的 2 GiB",
    "the model's constants, once computed, are larger than the 2 GiB of one ONNX file",
    "以外部数据保存模型, 或减少由算子生成的大常量",
    "save the model with external data, or let fewer large constants be made by operators")

# --- what the client wants of the model: fixed inputs and cuts
NO_TENSOR = Reason(
    "tensor_not_found", "模型没有张量 {name!r}; 相近的有: {near}",
    "the model has no tensor {name!r}; near ones: {near}",
    "使用主图中算子写出的张量名, 如 Netron 所示; 子图中的张量, 权重和模型输入不能作为输出",
    "name a tensor that an operator of the main graph writes, as Netron shows it; tensors inside of subgraphs, weights "
    "and the model's inputs are no outputs")
SHAPE_UNKNOWN = Reason(
    "tensor_not_found", "张量 {name} 的形状在计算之前无法得知",
    "the shape of tensor {name} cannot be told before it is computed", "选择其旁边的张量", "take a tensor beside it")
NOT_CLOSED = Reason(
    "tensor_not_found", "这些输出不能只由给定的输入计算, 还取决于: {names}",
    "these outputs cannot be computed from the given inputs alone, they also depend on: {names}",
    "将缺少的张量也列为输入, 或选择其他输出", "name the missing tensors as inputs too, or other outputs")
NO_INPUT_LEFT = Reason(
    "tensor_not_found", "所要求的输出不取决于任何剩余的输入",
    "the outputs that are asked for depend on no input that is left",
    "选择其他输出, 或固定较少的输入", "take other outputs, or fix fewer inputs")

# --- inspect and optimize
TAKES_TOO_LONG = Reason(
    "model_too_complex", "读取和简化该模型的计算超过 {seconds} 秒, 对 {mib} MiB 以内的模型过多",
    "reading and simplifying the model takes more than {seconds} s of computing, too much for one of at most {mib} MiB",
    "导出时计算常量并简化模型, 或拆分模型",
    "compute the constants when exporting the model and simplify it, or split it")

TAKES_TOO_MUCH = Reason(
    "model_too_complex", "加载和简化该模型需要超过 {mib} MiB 内存, 对其大小过多",
    "loading and simplifying the model takes more than {mib} MiB of memory, too much for its size",
    "导出时计算常量并简化模型, 或拆分模型",
    "compute the constants when exporting the model and simplify it, or split it")

# --- preprocessing
MAKES_INFINITY = Reason(
    "preprocessing_mismatch", "mean 和 std 使输入 {name!r} 出现无穷大或 NaN",
    "mean and std make infinity or NaN of the input {name!r}",
    "发送模型训练时使用的数值", "send those that the model was trained with")

# --- reference
_LOADS_AND_RUNS = (
    "确认 onnxruntime.InferenceSession(path) 能以所要求的形状加载并运行它; verify.enabled = false 时只转换, 不比较",
    "see that onnxruntime.InferenceSession(path) loads and runs it with the shapes asked for; verify.enabled = false "
    "converts without comparing")
NOT_LOADED = Reason("reference_failed", "ONNX Runtime 无法加载模型: {said}",
                    "ONNX Runtime cannot load the model: {said}",
                    *_LOADS_AND_RUNS)
NOT_RUN = Reason("reference_failed", "ONNX Runtime 无法运行模型: {said}", "ONNX Runtime cannot run the model: {said}",
                 *_LOADS_AND_RUNS)

# --- accuracy
OTHER_INPUTS = Reason(
    "verify_failed", "此 NumPy 无法重新生成参考输入", "the reference's inputs cannot be made again by this NumPy",
    "工具链环境需要一个与本服务随机数生成器一致的 NumPy",
    "the toolchain's environment needs a NumPy whose seeded generators agree with ours")
OTHER_SHAPE = Reason(
    "accuracy_too_low", "产物的输出 {name!r} 形状为 {actual}, 模型的为 {expected}",
    "output {name!r} of the artefact has the shape {actual}, the model's {expected}",
    "形状取决于数据的输出无法比较; 在其之前结束模型",
    "an output whose shape depends on the data cannot be compared; end the model before it")
OTHER_COUNT = Reason(
    "accuracy_too_low", "产物有 {actual} 个输出, 模型有 {expected} 个. 产物中没有: {lost}. 仅产物中有的形状: {more}",
    "the artefact has {actual} outputs, the model {expected}. Not in the artefact: {lost}. Shapes that only the "
    "artefact has: {more}",
    "请报告此问题: 转换丢失或增加了输出", "report this: the conversion lost or added an output")
TOO_FAR = Reason(
    "accuracy_too_low", "{total} 个输出中有 {failed} 个未通过精度检查: {outputs}",
    "{failed} of {total} outputs fail the accuracy check: {outputs}",
    "{advice}; accept_accuracy = true 时照样交付", "{advice}; accept_accuracy = true takes the artefact as it is")
TRY_HIGHER_THAN_INT8 = Bilingual(
    "使用更高的精度 (precision: int16 或 fp16, 视目标而定), 或混合量化 (让受影响的层保持浮点)",
    "try a higher precision (precision: int16 or fp16, as the target has them), or hybrid quantization, which leaves "
    "the layers in question in floating point")
TRY_HIGHER_THAN_INT16 = Bilingual(
    "使用 precision: fp16, 或混合量化 (让受影响的层保持浮点)",
    "try precision: fp16, or hybrid quantization, which leaves the layers in question in floating point")
TRY_HIGHER_THAN_FP16 = Bilingual(
    "如果目标支持, 使用 precision: fp32; 超出 FP16 范围的值会使结果失真",
    "try precision: fp32 if the target has it; values beyond FP16's range make nonsense of what follows")
MORE_SAMPLES = Bilingual("使用更多更好的校准样本", "send more and better calibration samples")
LOWER_BOUND = Bilingual("如果这样的偏差可以接受, 降低 verify.min_cosine",
                        "lower verify.min_cosine if you can live with such an error")
CUT = Bilingual(
    "在连接它们的 Concat 之前结束模型 (参数 outputs 指明其各个输入), 在 NPU 之后再连接",
    "end the model before the Concat that joins them (parameter outputs, with the names of its inputs), and join them "
    "after the NPU")
CUT_AT = Template(
    "在连接它们的 Concat 之前结束模型, 在 NPU 之后再连接: outputs = [{tensors}]",
    "end the model before the Concat that joins them, and join them after the NPU: outputs = [{tensors}]")
SEE_VALUES = Bilingual(
    "发送模型训练时使用的 mean 和 std, 以及与实际输入取值一致的校准集",
    "send mean and std that the model was trained with, and a calibration set of values as it will get them")
FIGURES = Template("{name}: 余弦 {cosine:.6f} (至少应为 {bound:g}), 最大误差 {error:.3g}",
                   "{name}: cosine {cosine:.6f} (at least {bound:g} wanted), greatest error {error:.3g}")
AGREEMENT = Template("{name}: {values} 个整数中有 {share:.2%} 一致 (至少应为 {bound:.4g})",
                     "{name}: {share:.2%} of {values} whole numbers agree (at least {bound:.4g} wanted)")
NAMED = Template("{name}: {what}", "{name}: {what}")
ALONG_AXIS = Template("沿轴 {axis} (形状 {shape}) 的 {count} 个切片 (通道) 中, {what}",
                      "of the {count} slices (channels) along axis {axis} of {shape}, {what}")
DEAD = Template(
    "{indices} 已失效: 在模型中有变化 (标准差至 {spread:.3g}), 在产物中为常数",
    "{indices} are dead: they vary in the model (standard deviation up to {spread:.3g}) and are constant in the "
    "artefact")
WRONG = Template(
    "{indices} 错误: 误差至其自身变化的 {error:.3g} 倍 (允许 {bound:g})",
    "{indices} are wrong: their error is up to {error:.3g} times their own variation ({bound:g} allowed)")
ALL_DEAD = Template(
    "已失效: 在模型中有变化 (标准差 {spread:.3g}), 在产物中为常数",
    "it is dead: it varies in the model (standard deviation {spread:.3g}) and is constant in the artefact")
ALL_WRONG = Template(
    "误差为其自身变化的 {error:.3g} 倍 (允许 {bound:g})",
    "its error is {error:.3g} times its own variation ({bound:g} allowed)")
OFFSET_ONLY = Bilingual("仅靠常数偏移才与模型相近", "only a constant offset makes it look like the model's")
SHARE_A_SCALE = Template(
    "其值至 {small:.3g}, 与至 {large:.3g} 的其他切片共用一个量化比例 (例如分数与像素坐标在同一张量中), "
    "因而精度不足或全部丢失",
    "their values reach {small:.3g} and share one scale with others that reach {large:.3g} (scores beside pixel "
    "coordinates in one tensor, for example), which leaves little or nothing of them")
STAND_BESIDE = Template("其值至 {small:.3g}, 其他切片至 {large:.3g}",
                        "their values reach {small:.3g}, others {large:.3g}")
ON_SEEDED = Template("{name} (随机输入)", "{name} on seeded inputs")
NOT_FINITE = Template("{count} 个值仅在一侧为 NaN 或无穷大", "{count} values are NaN or infinite on one side only")
SAME_FOR_ALL = Bilingual(
    "对所有样本都相同: mean, std 或校准集使模型无法区分输入",
    "the same for every sample: mean, std or the calibration set leave the model nothing to see")
NO_PROBABILITY = Template(
    "没有样本给出高于 {least:.1g} 的概率, 几乎未检验这些输出: {names}; 可用 verify.inputs 提供能给出概率的输入",
    "no sample gives a probability above {least:.1g}, so these outputs are hardly tested: {names}; verify.inputs can "
    "have some that do")

# --- values beyond FP16
BEYOND_FP16 = Template(
    "模型自身的值超出 NPU 计算所用的 FP16 的范围 (65504): {names}{more}",
    "the model's own values are beyond the range of FP16 (65504), in which an NPU computes: {names}{more}")
MORE_TENSORS = Template(", 另有 {count} 个张量", " and {count} more tensors")
OVERFLOWS = Reason(
    "accuracy_too_low", "{said}; 可能的原因: {cause}", "{said}; the likely cause: {cause}",
    "缩小这些值, 例如先除后平方或求和, 或让后面的层吸收比例; 平台支持时改用 bfloat16 或 int16; "
    "accept_accuracy = true 时照样交付",
    "make these values smaller, for example divide before squaring and summing, or let a later layer take up the "
    "scale; or compute in bfloat16 or int16 where the target has them; accept_accuracy = true takes the artefact as it "
    "is")

# --- how a vendor's tool ended, behind its name
TOOL_CRASHED = Template("因信号 {signal} 崩溃", "crashed with {signal}")
TOOL_ENDED = Template("以退出码 {code} 结束了进程", "ended its process with exit code {code}")
TOOL_RAISED = Template("抛出 {said}", "raised {said}")
TOOL_AT_FAULT = Bilingual("因其自身的错误未能处理该模型, 日志中有详情",
                          "broke on the model by a mistake of its own, which the log shows")
TOOL_MISTAKEN = Template("因其自身的错误未能处理该模型 ({said})", "broke on the model by a mistake of its own ({said})")

# --- publish
NO_ARTEFACT = Reason(
    "artefact_missing", "阶段 {stage} 没有留下 {suffix} 文件, 只有: {files}",
    "stage {stage} left no {suffix} file, only: {files}",
    "请报告此问题: 工具链报告了成功", "report this: the toolchain said that it succeeded")
NO_FILE = Bilingual("无", "nothing")
