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
_EACH_CHANNEL = ("为每个通道给出一个数值; 各输入不同时使用 {{input: numbers}}",
                 "send a number for each channel, or {{input: numbers}} where inputs differ")
NOT_AN_IMAGE = Reason(
    "preprocessing_mismatch", "mean 和 std 用于浮点图像, 而输入 {name!r} 为 {dtype} {shape}",
    "mean and std are for images of floating-point numbers, input {name!r} is {dtype} {shape}", *_EACH_CHANNEL)
OTHER_CHANNELS = Reason(
    "preprocessing_mismatch", "{kind} 有 {count} 个数值, 而输入 {name!r} 有 {channels} 个通道",
    "{kind} has {count} numbers, input {name!r} has {channels} channels", *_EACH_CHANNEL)
UNKNOWN_INPUT = Reason(
    "preprocessing_mismatch", "{kind} 指明了输入 {name!r}, 而模型的输入为: {names}",
    "{kind} names the input {name!r}, the model has: {names}", *_EACH_CHANNEL)
NO_IMAGE = Reason(
    "preprocessing_mismatch", "mean 和 std 用于浮点图像, 而没有这样的输入",
    "mean and std are for images of floating-point numbers, and no input is one", *_EACH_CHANNEL)
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
    "accuracy_too_low", "产物有 {actual} 个输出, 模型有 {expected} 个",
    "the artefact has {actual} outputs, the model {expected}",
    "请报告此问题: 转换丢失或增加了输出", "report this: the conversion lost or added an output")
TOO_FAR = Reason(
    "accuracy_too_low", "{total} 个输出中有 {failed} 个未通过精度检查 (允许的最低余弦: {bound:g}): {outputs}",
    "{failed} of {total} outputs fail the accuracy check (least cosine allowed: {bound:g}): {outputs}",
    "{advice}; accept_accuracy = true 时照样交付", "{advice}; accept_accuracy = true takes the artefact as it is")
TRY_HIGHER = Bilingual(
    "使用更高的精度, 更多更好的校准样本, 或更低的 verify.min_cosine",
    "try a higher precision, more and better calibration samples, or a lower verify.min_cosine")
SEE_VALUES = Bilingual(
    "发送模型训练时使用的 mean 和 std, 以及与实际输入取值一致的校准集",
    "send mean and std that the model was trained with, and a calibration set of values as it will get them")
FIGURES = Template("{name}: 余弦 {cosine:.6f}, 最大误差 {error:.3g}",
                   "{name}: cosine {cosine:.6f}, greatest error {error:.3g}")
ON_SEEDED = Template("{name} (随机输入)", "{name} on seeded inputs")
NOT_FINITE = Template("{count} 个值仅在一侧为 NaN 或无穷大", "{count} values are NaN or infinite on one side only")
SAME_FOR_ALL = Bilingual(
    "对所有样本都相同: mean, std 或校准集使模型无法区分输入",
    "the same for every sample: mean, std or the calibration set leave the model nothing to see")

# --- publish
NO_ARTEFACT = Reason(
    "artefact_missing", "阶段 {stage} 没有留下 {suffix} 文件, 只有: {files}",
    "stage {stage} left no {suffix} file, only: {files}",
    "请报告此问题: 工具链报告了成功", "report this: the toolchain said that it succeeded")
NO_FILE = Bilingual("无", "nothing")
