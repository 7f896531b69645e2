"""What a calibration set may be: which of its files make a sample, and what a file has to be."""
import math
import posixpath
import re

from shared.rules.bilingual import as_it_is
from shared.rules.reasons import calibration as reasons

LIST = "dataset.txt"
IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's, by the number of channels
MAX_FILES = 10000
MAX_BYTES = 8 << 30  # of a zip's files together, and of all samples as arrays
# A zip may hold so many times its own size. Pictures of a camera hardly compress, arrays of their values tenfold, drawn
# pictures and masks as arrays two hundredfold.
MAX_FACTOR = 300
FREE_BYTES = 64 << 20  # a zip of any size may hold so much
# The same for one image. A printed page as PNG comes to 500 times its size.
MAX_IMAGE_FACTOR = 1000
FREE_IMAGE_BYTES = 64 << 20
MAX_PIXELS = 1 << 27
# What desktops add to folders and zips.
_IGNORED = re.compile(r"(^|/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(/|$)", re.IGNORECASE)
_DTYPES = {"float": "float32", "double": "float64"}  # ONNX's names that are not NumPy's


def bad_zip(said):
    """`said` are the words of Python's own reader."""
    return reasons.BAD_ZIP(problem=as_it_is(said))


def no_sample():
    return reasons.NO_SAMPLE()


def kept(names):
    return [name for name in names if not _IGNORED.search(name)]


def is_folder(name):
    """Whether a zip's member is one. `ZipInfo.is_dir` of Python 3.11 fails for a member without a name."""
    return name.endswith("/")


class Members:
    """The names of the files of a zip, looked at one after the other. `zip_bytes` is the size of the zip itself."""

    def __init__(self, zip_bytes):
        self.names = set()
        self._bytes = 0
        self._free_bytes = max(FREE_BYTES, MAX_FACTOR * zip_bytes)

    def take(self, name, size, is_link):
        """Whether the file is part of the set.

        Raises:
            Refusal: `calibration_invalid`.
        """
        if name != posixpath.normpath(name) or name.startswith(("/", "../")) or name == ".." or "\\" in name:
            raise reasons.BAD_ZIP(problem=reasons.MEMBER_OUTSIDE(name=name))
        if not kept([name]):
            return False
        if is_link:
            raise reasons.BAD_ZIP(problem=reasons.MEMBER_LINK(name=name))
        if name in self.names:
            raise reasons.BAD_ZIP(problem=reasons.MEMBER_TWICE(name=name))
        self._bytes += size
        if self._bytes > MAX_BYTES or len(self.names) == MAX_FILES:
            raise reasons.BAD_ZIP(problem=reasons.ZIP_TOO_LARGE(files=MAX_FILES, gib=MAX_BYTES >> 30))
        if self._bytes > self._free_bytes:
            raise reasons.BAD_ZIP(problem=reasons.ZIP_EXPANDS(factor=MAX_FACTOR))
        self.names.add(name)
        return True


def image_size_problem(width, height, bands, file_bytes):
    """Why an image is not decoded, in both languages; None where it is."""
    if width * height > MAX_PIXELS:
        return reasons.TOO_MANY_PIXELS(width=width, height=height, limit=MAX_PIXELS)
    if width * height * bands > max(FREE_IMAGE_BYTES, MAX_IMAGE_FACTOR * file_bytes):
        return reasons.IMAGE_EXPANDS(width=width, height=height, factor=MAX_IMAGE_FACTOR)
    return None


def check_total(samples, inputs):
    """`inputs` are `[{name, dtype, shape}]` of static shape.

    Raises:
        Refusal: `calibration_invalid`: so many samples do not fit into what a set may be as arrays.
    """
    sample_bytes = sum(math.prod(item["shape"]) * _item_bytes(item["dtype"]) for item in inputs)
    if samples * sample_bytes > MAX_BYTES:
        raise reasons.SET_TOO_LARGE(count=samples, mib=-(-sample_bytes >> 20), limit=MAX_BYTES >> 30)


def _item_bytes(dtype):
    return max(1, int("".join(filter(str.isdigit, numpy_name(dtype))) or 8) // 8)


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
            raise reasons.NO_OWNER(name=name, inputs=", ".join(inputs), list=LIST)
        item = max(owners, key=len)  # a name of an input may have slashes in it
        key = posixpath.splitext(name[len(item) + 1:])[0]
        if key in by_input[item]:
            raise reasons.SAME_SAMPLE(one=by_input[item][key], other=name)
        by_input[item][key] = name
    keys = set().union(*by_input.values())
    for item, files in by_input.items():
        lacking = sorted(keys - set(files))
        if lacking:
            raise reasons.LACKS_SAMPLE(input=item, sample=lacking[0])
    return [[by_input[item][key] for item in inputs] for key in sorted(keys)]


def suffix(name):
    return posixpath.splitext(name)[1].lower()


def neither(name):
    return reasons.NEITHER(name=name, suffixes=", ".join(sorted(IMAGES)))


def bad_file(name, problem):
    """`problem` in both languages."""
    return reasons.BAD_FILE(name=name, problem=problem)


def numpy_name(dtype):
    """The NumPy name of an ONNX element type (`float`, `int64`)."""
    return _DTYPES.get(dtype, dtype)


def image_problem(item):
    """Why an input, `{name, dtype, shape}`, takes no image, in both languages; None where it does."""
    shape, dtype = list(item["shape"]), numpy_name(item["dtype"])
    if len(shape) != 4 or shape[0] != 1 or not {shape[1], shape[3]} & set(MODES):
        return reasons.NO_IMAGE_OF_SHAPE(name=item["name"], shape=shape)
    if not dtype.startswith("float") and dtype != "uint8":
        return reasons.NO_IMAGE_OF_TYPE(name=item["name"], dtype=dtype)
    return None


def array_problem(kind, dtype, shape, item):
    """Why an array does not fit an input, in both languages; None where it does. `kind` and `dtype` are as NumPy names
    them. Its first dimension may be left out where it is 1."""
    shape, wanted, wanted_dtype = list(shape), list(item["shape"]), numpy_name(item["dtype"])
    if kind == "O":
        return reasons.OBJECTS
    if shape != wanted and not (wanted[:1] == [1] and shape == wanted[1:]):
        return reasons.OTHER_SHAPE(shape=shape, name=item["name"], wanted=wanted)
    if kind not in "fiub" or (kind == "f" and not wanted_dtype.startswith("float")):
        return reasons.OTHER_TYPE(dtype=dtype, name=item["name"], wanted=wanted_dtype)
    return None
