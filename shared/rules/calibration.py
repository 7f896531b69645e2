"""What a calibration set may be: which of its files make a sample, and what a file has to be."""
import posixpath
import re

from shared.rules.refusal import Refusal

LIST = "dataset.txt"
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's, by the number of channels
MAX_FILES = 10000
MAX_BYTES = 8 << 30
# What desktops add to folders and zips.
_IGNORED = re.compile(r"(^|/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(/|$)", re.IGNORECASE)
_DTYPES = {"float": "float32", "double": "float64"}  # ONNX's names that are not NumPy's


def invalid(what, hint):
    return Refusal("calibration_invalid", "the calibration set cannot be used: " + what, hint)


def bad_zip(what):
    return Refusal("calibration_invalid", "the calibration set's zip cannot be used: " + what,
                   "make it anew, with .npy arrays or images")


def no_sample():
    return invalid("it holds no sample", "a zip or a prefix with .npy arrays or images, 100 or so")


def kept(names):
    return [name for name in names if not _IGNORED.search(name)]


class Members:
    """The names of a zip's files, looked at one after the other."""

    def __init__(self):
        self.names = set()
        self._bytes = 0

    def take(self, name, size, is_link):
        """Whether the file is part of the set.

        Raises:
            Refusal: `calibration_invalid`.
        """
        if name != posixpath.normpath(name) or name.startswith(("/", "../")) or name == ".." or "\\" in name:
            raise bad_zip(f"its member {name!r} lies outside of it")
        if not kept([name]):
            return False
        if is_link:
            raise bad_zip(f"its member {name!r} is a link")
        if name in self.names:
            raise bad_zip(f"it holds {name!r} twice")
        self._bytes += size
        if self._bytes > MAX_BYTES or len(self.names) == MAX_FILES:
            raise bad_zip(f"it holds more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB")
        self.names.add(name)
        return True


def common_folder(names, inputs):
    """The folders that all of them lie in, with a slash at the end: who zips a folder has it in every name. A folder
    that is an input's is none of these."""
    common = ""
    while names:
        top = names[0][len(common):].partition("/")[0] + "/"
        if not all(name.startswith(common + top) for name in names) or any(
                (item + "/").startswith(top) for item in inputs):
            break
        common += top
    return common


def group(names, inputs):
    """The files of each sample, in the order of the inputs' names. With one input every file is a sample.

    Raises:
        Refusal: `calibration_invalid`.
    """
    if not names:
        raise no_sample()
    if len(inputs) == 1:
        return [[name] for name in names]
    by_input: dict[str, dict[str, str]] = {item: {} for item in inputs}
    for name in names:
        owners = [item for item in inputs if name.startswith(item + "/")]
        if not owners:
            raise invalid(f"{name} lies in no input's folder, the model has several inputs: {', '.join(inputs)}",
                          f"put each input's files into a folder of its name, or list the samples in {LIST}")
        item = max(owners, key=len)  # a name of an input may have slashes in it
        key = posixpath.splitext(name[len(item) + 1:])[0]
        if key in by_input[item]:
            raise invalid(f"{by_input[item][key]} and {name} would be the same sample", "remove one of them")
        by_input[item][key] = name
    keys = set().union(*by_input.values())
    for item, files in by_input.items():
        lacking = sorted(keys - set(files))
        if lacking:
            raise invalid(f"input {item!r} has no file for the sample {lacking[0]!r}",
                          "files of one sample have the same name in each input's folder")
    return [[by_input[item][key] for item in inputs] for key in sorted(keys)]


def suffix(name):
    return posixpath.splitext(name)[1].lower()


def neither(name):
    return invalid(f"{name} is neither .npy nor an image ({', '.join(sorted(IMAGES))})", "remove it from the set")


def bad_file(name, problem):
    return invalid(f"{name}: {problem}", "mend or remove this file, and send a new task: "
                                         "a retry goes on with the set as it was read")


def numpy_name(dtype):
    """The NumPy name of an ONNX element type (`float`, `int64`)."""
    return _DTYPES.get(dtype, dtype)


def image_problem(item):
    """Why an input, `{name, dtype, shape}`, takes no image; "" where it does."""
    shape, dtype = list(item["shape"]), numpy_name(item["dtype"])
    if len(shape) != 4 or shape[0] != 1 or not {shape[1], shape[3]} & set(MODES):
        return f"input {item['name']!r} of shape {shape} takes no image; send .npy"
    if not dtype.startswith("float") and dtype != "uint8":
        return f"input {item['name']!r} of type {dtype} takes no image; send .npy"
    return ""


def array_problem(kind, dtype, shape, item):
    """Why an array does not fit an input; `kind` and `dtype` as NumPy names them. Its first dimension may be left out
    where it is 1."""
    shape, wanted, wanted_dtype = list(shape), list(item["shape"]), numpy_name(item["dtype"])
    if kind == "O":
        return "it holds Python objects, not numbers"
    if shape != wanted and not (wanted[:1] == [1] and shape == wanted[1:]):
        return f"its shape is {shape}, input {item['name']!r} has {wanted}"
    if kind not in "fiub" or (kind == "f" and not wanted_dtype.startswith("float")):
        return f"its type is {dtype}, input {item['name']!r} has {wanted_dtype}"
    return ""
