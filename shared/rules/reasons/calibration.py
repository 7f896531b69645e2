"""What is said of a calibration set."""
from shared.rules.bilingual import Bilingual, Template
from shared.rules.refusal import Reason

_SET = ("calibration_invalid", "校准集无法使用: {}", "the calibration set cannot be used: {}")


def _of_set(zh: str, en: str, hint_zh: str, hint_en: str) -> Reason:
    code, frame_zh, frame_en = _SET
    return Reason(code, frame_zh.replace("{}", zh), frame_en.replace("{}", en), hint_zh, hint_en)


# --- the set
NO_SAMPLE = _of_set("其中没有样本", "it holds no sample",
                    "使用含有 .npy 数组或图像的 zip 或前缀, 约 100 个",
                    "a zip or a prefix with .npy arrays or images, 100 or so")
NO_OWNER = _of_set(
    "{name} 不在任何输入的文件夹中, 模型有多个输入: {inputs}",
    "{name} lies in no input's folder, the model has several inputs: {inputs}",
    "将每个输入的文件放入与其同名的文件夹, 或在 {list} 中列出样本",
    "put each input's files into a folder of its name, or list the samples in {list}")
SAME_SAMPLE = _of_set("{one} 和 {other} 属于同一个样本", "{one} and {other} would be the same sample",
                      "删除其中一个", "remove one of them")
SET_TOO_LARGE = _of_set(
    "{count} 个样本, 每个 {mib} MiB, 合计超过 {limit} GiB",
    "{count} samples of {mib} MiB each are more than {limit} GiB",
    "减少样本数量, 约 100 个即可", "send fewer samples, 100 or so do")
LACKS_SAMPLE = _of_set(
    "输入 {input!r} 没有样本 {sample!r} 的文件", "input {input!r} has no file for the sample {sample!r}",
    "同一样本在每个输入的文件夹中使用相同的文件名", "files of one sample have the same name in each input's folder")
NEITHER = _of_set("{name} 既不是 .npy, 也不是图像 ({suffixes})", "{name} is neither .npy nor an image ({suffixes})",
                  "将其从校准集中删除", "remove it from the set")
BAD_FILE = _of_set("{name}: {problem}", "{name}: {problem}",
                   "更正或删除该文件, 然后新建任务: 重试仍使用已读取的校准集",
                   "mend or remove this file, and send a new task: a retry goes on with the set as it was read")

_REAL_SAMPLES = ("使用约 100 个取自实际使用场景的样本; accept_accuracy = true 时照样使用该校准集",
                 "send samples as the model will get them in use, 100 or so; accept_accuracy = true goes on with this "
                 "set")
ONE_COLOUR = _of_set(
    "全部 {count} 个样本的图像 ({inputs}) 都只有一种颜色, 取值在 {least} 到 {greatest} 之间, 量化器无法从中得到范围",
    "the pictures ({inputs}) of all {count} samples are of one colour each, of values from {least} to {greatest}: a "
    "quantizer learns no range of the model from them", *_REAL_SAMPLES)
ONE_VALUE = _of_set(
    "全部 {count} 个样本中每个输入 ({inputs}) 的值都相同, 取值在 {least} 到 {greatest} 之间, 量化器无法从中得到范围",
    "each input ({inputs}) has one and the same value everywhere in all {count} samples, from {least} to {greatest}: a "
    "quantizer learns no range of the model from them", *_REAL_SAMPLES)

# --- its list
NOT_IN_SET = _of_set("{list} 第 {line} 行引用了 {name!r}, 该文件不在校准集中",
                     "{list} line {line} names {name!r}, which is not in the set",
                     "路径相对于列表所在的文件夹", "paths are relative to the folder of the list")
OTHER_COUNT = _of_set("{list} 第 {line} 行有 {count} 个文件, 而模型有 {inputs} 个输入",
                      "{list} line {line} names {count} files, the model has {inputs} inputs",
                      "每行一个样本, 每个输入一个路径", "one sample a line, a path for each input")
TOO_MANY_LISTED = _of_set("{list} 列出的样本超过 {limit} 个", "{list} lists more than {limit} samples",
                          "约 100 个即可", "100 or so do")

# --- its zip
BAD_ZIP = Reason(
    "calibration_invalid", "校准集的 zip 无法使用: {problem}", "the calibration set's zip cannot be used: {problem}",
    "用 .npy 数组或图像重新制作", "make it anew, with .npy arrays or images")
MEMBER_OUTSIDE = Template("成员 {name!r} 位于压缩包之外", "its member {name!r} lies outside of it")
MEMBER_LINK = Template("成员 {name!r} 是链接", "its member {name!r} is a link")
MEMBER_TWICE = Template("{name!r} 出现了两次", "it holds {name!r} twice")
ZIP_EXPANDS = Template("解压后超过其自身大小的 {factor} 倍", "it holds more than {factor} times its own size")
ZIP_TOO_LARGE = Template("文件超过 {files} 个, 或大小超过 {gib} GiB", "it holds more than {files} files or {gib} GiB")

# --- one file
NOT_NPY = Template("不是 .npy 文件: {said}", "it is no .npy file: {said}")
NO_MAGIC = Bilingual("文件头不正确", "the magic string is not correct")
UNKNOWN_VERSION = Template("格式版本 {version} 未知", "version {version} of the format is not known")
HEADER_CUT = Bilingual("文件头不完整", "its header is cut off")
CUT_OFF = Template("文件不完整: {said}", "it is cut off: {said}")
BYTES_MISSING = Template("缺少 {count} 字节", "{count} bytes are missing")
NO_IMAGE_OF_SHAPE = Template("输入 {name!r} 的形状为 {shape}, 不接受图像; 请发送 .npy",
                             "input {name!r} of shape {shape} takes no image; send .npy")
NO_IMAGE_OF_TYPE = Template("输入 {name!r} 的类型为 {dtype}, 不接受图像; 请发送 .npy",
                            "input {name!r} of type {dtype} takes no image; send .npy")
OBJECTS = Bilingual("内容是 Python 对象, 不是数值", "it holds Python objects, not numbers")
OTHER_SHAPE = Template("形状为 {shape}, 而输入 {name!r} 的形状为 {wanted}",
                       "its shape is {shape}, input {name!r} has {wanted}")
OTHER_TYPE = Template("类型为 {dtype}, 而输入 {name!r} 的类型为 {wanted}",
                      "its type is {dtype}, input {name!r} has {wanted}")
NOT_FINITE = Bilingual("含有 NaN, 或超出其类型范围的值", "it holds NaN, or values beyond its type")
BEYOND_TYPE = Template("含有超出 {dtype} 范围的值", "it holds values beyond {dtype}")
TOO_MANY_PIXELS = Template("有 {width} x {height} 像素, 最多读取 {limit}",
                           "it has {width} x {height} pixels, {limit} at most are read")
IMAGE_EXPANDS = Template("有 {width} x {height} 像素, 超过文件大小的 {factor} 倍",
                         "its {width} x {height} pixels are more than {factor} times the size of the file")
NOT_AN_IMAGE = Template("无法作为图像读取: {said}", "it cannot be read as an image: {said}")
NO_KNOWN_FORMAT = Template("不是 {formats}, 或已损坏", "it is none of {formats}, or damaged")

# --- a set of test inputs, in the words for a calibration set (`shared.rules.own_inputs`)
OF_TEST_INPUTS = Reason("test_inputs_invalid", "{said}", "{said}", "{advice}", "{advice}")

# --- the objects that a parameter names
TOO_MANY_OBJECTS = Reason(
    "too_many_files", "{path} 下的对象超过 {limit} 个", "more than {limit} objects lie below {path}",
    "parameters.{parameter} 最多接受 {limit} 个; 可打包成一个 zip",
    "parameters.{parameter} takes {limit} at most; a zip holds them in one")
_NO_OBJECT = ("input_not_found", "parameters.{parameter}: 没有对象 {path}, 其下也没有对象",
              "parameters.{parameter}: no object {path}, and none below it")
NO_OBJECT_YET = Reason(*_NO_OBJECT, "先上传", "upload it first")
NO_OBJECT = Reason(*_NO_OBJECT, "先上传, 再重试任务", "upload it first, then retry the task")
