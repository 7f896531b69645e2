"""What a model file may hold, and how it is refused."""
import posixpath

from shared.rules.refusal import Refusal

MODEL = "model.onnx"
STANDARD = ("", "ai.onnx")

MAX_PROTO_BYTES = 2**31 - 1  # protobuf's own limit for one message; larger weights lie in external data
MAX_ENTRIES = 1000000  # nodes, initialisers, value infos, … of all graphs together
MAX_NODES = 200000
MAX_NESTING = 16  # subgraphs within subgraphs
MAX_TENSOR_ELEMENTS = 2**30
MAX_EXTERNAL_FILES = 10000

# Bits per element of TensorProto's types; those without a fixed size (STRING) are not here.
BITS = {"FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8,
        "FLOAT16": 16, "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16,
        "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8, "UINT4": 4,
        "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}
# Types of inputs and outputs that the reference run can feed and compare.
NUMERIC = ("float16", "float", "double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
           "bool")
LONGEST_MAGIC = 16  # this many first bytes tell another format
_OTHER_FORMATS = (
    (0, b"PK\x03\x04", "a zip archive (PyTorch and Keras save such)"),
    (0, b"\x80\x02", "a Python pickle (PyTorch saves such)"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x05", "a Python pickle"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file (Keras saves such)"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"RKNN", "an RKNN model"),
    (0, b"GGUF", "a GGUF model"),
    (0, b"\x7fELF", "a program"),
    (0, b"<", "an XML or HTML document"),
    (0, b"{", "a JSON document"),
    (4, b"TFL3", "a TFLite model"),
    (8, b"{\"", "a safetensors file"),
)
# ONNX Runtime takes the location "*/_ORT_MEM_ADDR_/*" for an address in its own memory.
_FORBIDDEN = "\\*\0"


# --- the file -------------------------------------------------------------------------------------------------------


def check_size(size):
    """Raises:
        Refusal: `model_empty`, `model_too_large`.
    """
    if size == 0:
        raise Refusal("model_empty", "the model file is empty (0 bytes)", "upload the file again")
    if size > MAX_PROTO_BYTES:
        raise Refusal("model_too_large", f"{MODEL} has {size} bytes; one ONNX file holds at most 2 GiB",
                      "save the model with external data: onnx.save(model, path, save_as_external_data=True)")


def check_format(start):
    """`start` are the file's first bytes, `LONGEST_MAGIC` of them if there are so many.

    Raises:
        Refusal: `model_not_onnx`.
    """
    for offset, magic, what in _OTHER_FORMATS:
        if start[offset:offset + len(magic)] == magic:
            raise Refusal("model_not_onnx", f"the file is {what}, not an ONNX model",
                          "export the model to ONNX (for PyTorch: torch.onnx.export) and send the .onnx file")


def unreadable(size):
    """The error for `size` bytes that do not parse."""
    return Refusal("model_unreadable", f"the {size} bytes are no readable ONNX model: truncated or damaged",
                   "compare size and checksum with the original and upload it again; "
                   "onnx.checker.check_model(path) tells whether the original itself is sound")


def no_graph():
    return Refusal("model_not_onnx", "the file has no ONNX graph in it",
                   "export the model to ONNX and send the .onnx file")


def too_deep():
    return Refusal("model_too_complex", f"subgraphs are nested more than {MAX_NESTING} deep",
                   "flatten the model's If, Loop and Scan bodies")


def too_many_entries():
    return Refusal("model_too_complex", f"the model has more than {MAX_ENTRIES} nodes and tensors",
                   "split the model, or simplify it before the conversion")


def check_nodes(count):
    """Raises:
        Refusal: `model_too_complex`.
    """
    if count > MAX_NODES:
        raise Refusal("model_too_complex", f"the model has {count} nodes; at most {MAX_NODES} are converted",
                      "split the model, or simplify it before the conversion")


# --- versions, operators, inputs and outputs ------------------------------------------------------------------------


def check_versions(ir_version, opsets, newest_ir_version, newest_opset):
    """`opsets` are `{domain: version}`, the standard domain under "ai.onnx".

    Raises:
        Refusal: `opset_unsupported`, `model_invalid` (no opset at all).
    """
    hint = f"export the model again with an opset of at most {newest_opset}; 17 is understood everywhere"
    if ir_version > newest_ir_version:
        raise Refusal("opset_unsupported", f"the model's IR version is {ir_version}; "
                                           f"this service reads up to {newest_ir_version}", hint)
    if opsets.get("ai.onnx", 1) > newest_opset:
        raise Refusal("opset_unsupported", f"the model's opset is {opsets['ai.onnx']}; "
                                           f"this service reads up to {newest_opset}", hint)
    if not opsets:
        raise Refusal("model_invalid", "the model names no opset: its end is missing, or its exporter is at fault",
                      "compare the file with the original, or export it again")


def shown(domain, name):
    """`Conv`, or `com.microsoft.Gelu` outside the standard domain."""
    return name if domain in STANDARD else f"{domain}.{name}"


def unknown_operators(names, opsets):
    return Refusal("unsupported_operator",
                   f"no known operators in opset {opsets.get('ai.onnx', 1)}: {', '.join(names)}",
                   "replace them by standard ONNX operators, or export with an opset that has them")


def beyond_standard(names):
    """The warning about operators that only ONNX Runtime defines."""
    return "outside the ONNX standard, so it depends on the target: " + ", ".join(names)


def no_output():
    return Refusal("model_invalid", "the model has no output", "export it with at least one output")


def check_type(entry):
    """Of an input or output, `{name, dtype}`.

    Raises:
        Refusal: `unsupported_type`.
    """
    if entry["dtype"] not in NUMERIC:
        raise Refusal("unsupported_type", f"{entry['name']!r} is of type {entry['dtype']}, which no target takes",
                      "convert the part of the model that works on numbers")


# --- tensors --------------------------------------------------------------------------------------------------------


def count_elements(name, dims):
    """The product of the dimensions.

    Raises:
        Refusal: `tensor_too_large`, `model_invalid` (a negative dimension).
    """
    count = 1
    for dim in dims:
        if dim < 0:
            raise Refusal("model_invalid", f"tensor {name!r} has a negative dimension: {list(dims)}",
                          "export the model again")
        count *= dim
    if count > MAX_TENSOR_ELEMENTS:
        raise Refusal("tensor_too_large", f"tensor {name!r} of shape {list(dims)} has {count} elements; "
                                          f"at most {MAX_TENSOR_ELEMENTS} are converted",
                      "split such a tensor, or convert the model with smaller dimensions")
    return count


def unknown_type(name, number):
    return Refusal("model_invalid", f"tensor {name!r} has the unknown data type {number}",
                   "export the model again, or with an older ONNX opset")


def size_bytes(type_name, count):
    """Of `count` elements; 0 where an element has no fixed size."""
    return (count * BITS.get(type_name, 0) + 7) // 8


def check_data(name, dims, type_name, have, want, unit):
    """What a tensor holds itself against what its shape needs.

    Raises:
        Refusal: `model_invalid`.
    """
    if have != want:
        raise Refusal("model_invalid", f"tensor {name!r} of shape {list(dims)} needs {want} {unit} of {type_name} "
                                       f"and holds {have}",
                      "the file is damaged, or its exporter is at fault: export the model again")


# --- external data --------------------------------------------------------------------------------------------------


def check_location(location):
    """The location of an external file in its normal form.

    Raises:
        Refusal: `external_data_outside`: empty, absolute, with `..`, a drive or one of `_FORBIDDEN`, or the model.
    """
    normal = posixpath.normpath(location) if location else ""
    if (not location or len(location) > 1024 or location.startswith("/") or ".." in location.split("/")
            or location[1:2] == ":" or any(char in location for char in _FORBIDDEN) or normal in (".", MODEL)):
        raise outside(location, "is not a plain path below the model's folder")
    return normal


def outside(location, why):
    return Refusal("external_data_outside", f"the external data file {location[:200]!r} {why}",
                   "save the model again so that its data lies beside it: "
                   "onnx.save(model, path, save_as_external_data=True, location=\"weights.bin\")")


def too_many_files(count):
    return Refusal("model_too_complex", f"the model names {count} external data files; "
                                        f"at most {MAX_EXTERNAL_FILES} are fetched",
                   "save the weights in one file: onnx.save(…, all_tensors_to_one_file=True)")


def external_range(name, dims, entries, size):
    """`(offset, length)` of a tensor of `size` bytes; `entries` are its `{"location", "offset", "length"}`, as text.

    Raises:
        Refusal: `model_invalid`.
    """
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
    except ValueError:
        offset = length = -1
    if offset < 0 or length != size:
        raise Refusal("model_invalid", f"tensor {name!r} of shape {list(dims)} names bytes of "
                                       f"{entries.get('location', '')!r} that do not fit its shape: offset "
                                       f"{entries.get('offset', 0)}, length {entries.get('length')}",
                      "export the model again")
    return offset, length


def check_end(name, end, location, size):
    """A tensor's last byte against the external file's size.

    Raises:
        Refusal: `external_data_missing`.
    """
    if end > size:
        raise Refusal("external_data_missing", f"tensor {name!r} ends at byte {end} of {location!r}, "
                                               f"which has only {size}",
                      "the file is cut or belongs to another model: upload it again")
