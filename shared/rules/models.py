"""What a model file may hold, and how it is refused."""
import posixpath

from shared.rules.reasons import model as reasons

MODEL = "model.onnx"
STANDARD = ("", "ai.onnx")

MAX_PROTO_BYTES = 2**31 - 1  # protobuf's own limit for one message; larger weights lie in external data
MAX_ENTRIES = 1000000  # nodes, initialisers, value infos, … of all graphs together
MAX_FIELDS = 20000000  # of all messages but tensors' contents; reading so many takes some ten seconds
MAX_NODES = 200000
MAX_ATTRIBUTES = 2000000
MAX_NESTING = 16  # subgraphs within subgraphs
MAX_TENSOR_ELEMENTS = 2**30
MAX_FACTS_BYTES = 2 << 20  # what a stage tells of a model: its inputs, outputs and operators by name
MAX_EXTERNAL_FILES = 10000
MAX_LOCATION = 1024  # characters of an external file's name

# Bits per element of TensorProto's types; those without a fixed size (STRING) are not here.
BITS = {"FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8,
        "FLOAT16": 16, "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16,
        "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8, "UINT4": 4,
        "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}
# Where onnx.proto3 puts the elements that are not in raw_data, and how many entries one element takes; other types' are
# in int32_data, one entry each.
ELEMENT_FIELDS = {"FLOAT": ("float_data", 1), "COMPLEX64": ("float_data", 2), "DOUBLE": ("double_data", 1),
                  "COMPLEX128": ("double_data", 2), "INT64": ("int64_data", 1), "UINT32": ("uint64_data", 1),
                  "UINT64": ("uint64_data", 1), "STRING": ("string_data", 1)}
# Types of inputs and outputs that the reference run can feed and compare.
NUMERIC = ("float16", "float", "double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
           "bool")
_ENDLESS = 2**64  # more elements are not counted: a shape of a million dimensions has a number of a million digits
_SHOWN_DIMS = 16
_SHOWN_BYTES = 60
_MAX_DIGITS = 20  # of a number of 64 bits
LONGEST_MAGIC = 16  # this many first bytes tell another format
_OTHER_FORMATS = (
    (0, b"PK\x03\x04", reasons.ZIP),
    (0, b"\x80\x02", reasons.TORCH_PICKLE),
    (0, b"\x80\x03", reasons.PICKLE),
    (0, b"\x80\x04", reasons.PICKLE),
    (0, b"\x80\x05", reasons.PICKLE),
    (0, b"\x93NUMPY", reasons.NPY),
    (0, b"\x89HDF", reasons.HDF5),
    (0, b"\x1f\x8b", reasons.GZIP),
    (0, b"RKNN", reasons.RKNN),
    (0, b"GGUF", reasons.GGUF),
    (0, b"\x7fELF", reasons.PROGRAM),
    (0, b"<", reasons.XML),
    (0, b"{", reasons.JSON),
    (4, b"TFL3", reasons.TFLITE),
    (8, b"{\"", reasons.SAFETENSORS),
)
# ONNX Runtime takes the location "*/_ORT_MEM_ADDR_/*" for an address in its own memory.
_FORBIDDEN = "\\*\0"


# --- the file -------------------------------------------------------------------------------------------------------


def check_size(size):
    """Raises:
        Refusal: `model_empty`, `model_too_large`.
    """
    if size == 0:
        raise reasons.EMPTY()
    if size > MAX_PROTO_BYTES:
        raise reasons.PROTO_TOO_LARGE(file=MODEL, size=size)


def check_format(start):
    """`start` are the file's first bytes, `LONGEST_MAGIC` of them if there are so many.

    Raises:
        Refusal: `model_not_onnx`.
    """
    for offset, magic, name in _OTHER_FORMATS:
        if start[offset:offset + len(magic)] == magic:
            raise reasons.OTHER_FORMAT(format=name)


def unreadable(size):
    """The error for `size` bytes that do not parse."""
    return reasons.UNREADABLE(size=size)


def not_text(data):
    """The error for a name of bytes that are no UTF-8."""
    return reasons.NOT_TEXT(name=data[:_SHOWN_BYTES])


def no_graph():
    return reasons.NO_GRAPH()


def too_deep():
    return reasons.TOO_DEEP(limit=MAX_NESTING)


def too_many_entries():
    return reasons.TOO_MANY_ENTRIES(limit=MAX_ENTRIES)


def too_many_fields():
    return reasons.TOO_MANY_FIELDS(limit=MAX_FIELDS)


def too_many_attributes():
    return reasons.TOO_MANY_ATTRIBUTES(limit=MAX_ATTRIBUTES)


def check_nodes(count):
    """Raises:
        Refusal: `model_too_complex`.
    """
    if count > MAX_NODES:
        raise reasons.TOO_MANY_NODES(count=count, limit=MAX_NODES)


def check_expansion(used, functions):
    """Whether the model stays within the limit once its functions are put in the place of their calls: a few of them
    that call each other twice double with each level.

    `used` is `{operator: count}` of the graph, `functions` the same of each function's body, by the function's own
    operator. An operator is a domain and a name.

    Raises:
        Refusal: `model_too_complex`; also for functions that call themselves.
    """
    sizes, begun = {}, set()
    pending = [operator for operator in used if operator in functions]
    while pending:
        operator = pending[-1]
        if operator in sizes:
            pending.pop()
            continue
        inner = functions[operator]
        ahead = [name for name in inner if name in functions and name not in sizes]
        if not ahead:
            pending.pop()
            size = sum(count * sizes.get(name, 1) for name, count in inner.items())
            sizes[operator] = min(size, MAX_NODES + 1)
        elif operator in begun:  # its callees were waited for already
            raise reasons.EXPANDS_TOO_FAR(limit=MAX_NODES)
        else:
            begun.add(operator)
            pending += ahead
    if sum(count * sizes.get(operator, 1) for operator, count in used.items()) > MAX_NODES:
        raise reasons.EXPANDS_TOO_FAR(limit=MAX_NODES)


def check_facts(size):
    """`size` are the bytes of what is to be told of the model.

    Raises:
        Refusal: `model_too_complex`.
    """
    if size > MAX_FACTS_BYTES:
        raise reasons.TOO_MUCH_TO_TELL(limit_mib=MAX_FACTS_BYTES >> 20)


# --- versions, operators, inputs and outputs ------------------------------------------------------------------------


def check_versions(ir_version, opsets, newest_ir_version, newest_opset):
    """`opsets` are `{domain: version}`, the standard domain under "ai.onnx".

    Raises:
        Refusal: `opset_unsupported`, `model_invalid` (no opset at all).
    """
    if ir_version > newest_ir_version:
        raise reasons.IR_TOO_NEW(version=ir_version, newest=newest_ir_version, newest_opset=newest_opset)
    if opsets.get("ai.onnx", 1) > newest_opset:
        raise reasons.OPSET_TOO_NEW(version=opsets["ai.onnx"], newest_opset=newest_opset)
    if not opsets:
        raise reasons.NO_OPSET()


def shown(domain, name):
    """`Conv`, or `com.microsoft.Gelu` outside the standard domain."""
    return name if domain in STANDARD else f"{domain}.{name}"


def unknown_operators(names, opsets):
    return reasons.UNKNOWN_OPERATORS(opset=opsets.get("ai.onnx", 1), names=", ".join(names))


def beyond_standard(names):
    """The warning about operators that only ONNX Runtime defines, in both languages."""
    return reasons.BEYOND_STANDARD(names=", ".join(names))


def no_output():
    return reasons.NO_OUTPUT()


def check_type(entry):
    """Of an input or output, `{name, dtype}`.

    Raises:
        Refusal: `unsupported_type`.
    """
    if entry["dtype"] not in NUMERIC:
        raise reasons.TYPE_NOT_TAKEN(name=entry["name"], dtype=entry["dtype"])


# --- tensors --------------------------------------------------------------------------------------------------------


def count_elements(name, dims):
    """The product of the dimensions.

    Raises:
        Refusal: `tensor_too_large`, `model_invalid` (a negative dimension).
    """
    count = 1
    for dim in dims:
        if dim < 0:
            raise reasons.NEGATIVE_DIMENSION(name=name, dims=_shown(dims))
        count = min(count * dim, _ENDLESS)
    if count > MAX_TENSOR_ELEMENTS:
        raise reasons.TOO_MANY_ELEMENTS(name=name, dims=_shown(dims), limit=MAX_TENSOR_ELEMENTS,
                                        count=count if count < _ENDLESS else reasons.ENDLESS)
    return count


def _shown(dims):
    """A shape as a message shows it."""
    first = ", ".join(map(str, dims[:_SHOWN_DIMS]))
    return f"[{first}{', …' if len(dims) > _SHOWN_DIMS else ''}]"


def unknown_type(name, number):
    return reasons.UNKNOWN_DATA_TYPE(name=name, number=number)


def size_bytes(type_name, count):
    """Of `count` elements; 0 where an element has no fixed size."""
    return (count * BITS.get(type_name, 0) + 7) // 8


def check_data(name, dims, type_name, have, want, unit):
    """What a tensor holds itself against what its shape needs.

    Raises:
        Refusal: `model_invalid`.
    """
    if have != want:
        raise reasons.WRONG_LENGTH(name=name, dims=_shown(dims), want=want, unit=reasons.UNITS[unit],
                                   type=type_name, have=have)


# --- external data --------------------------------------------------------------------------------------------------


def check_location(location):
    """The location of an external file in its normal form.

    Raises:
        Refusal: `external_data_outside`: empty, absolute, with `..`, a drive or one of `_FORBIDDEN`, or the model.
    """
    normal = posixpath.normpath(location) if location else ""
    if (not location or len(location) > MAX_LOCATION or location.startswith("/") or ".." in location.split("/")
            or location[1:2] == ":" or any(char in location for char in _FORBIDDEN) or normal in (".", MODEL)):
        raise reasons.DATA_OUTSIDE(location=location[:200], why=reasons.NOT_PLAIN)
    return normal


def behind_a_link(location):
    return reasons.DATA_OUTSIDE(location=location[:200], why=reasons.BEHIND_A_LINK)


def too_many_files(count):
    return reasons.TOO_MANY_DATA_FILES(count=count, limit=MAX_EXTERNAL_FILES)


def external_range(name, dims, entries, size):
    """`(offset, length)` of a tensor of `size` bytes; `entries` are its `{"location", "offset", "length"}`, as text.

    Raises:
        Refusal: `model_invalid`.
    """
    offset = _number(entries.get("offset", "0"))
    length = _number(entries["length"]) if "length" in entries else size
    if offset < 0 or length != size:
        raise reasons.WRONG_RANGE(name=name, dims=_shown(dims), location=entries.get("location", ""),
                                  offset=entries.get("offset", 0), length=entries.get("length"))
    return offset, length


def _number(text):
    """-1 for what is no whole number in digits: `int` would also take `1_0`, ` 1` and the digits of other scripts."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else -1


def check_end(name, end, location, size):
    """A tensor's last byte against the external file's size.

    Raises:
        Refusal: `external_data_missing`.
    """
    if end > size:
        raise reasons.DATA_CUT(name=name, end=end, location=location, size=size)
