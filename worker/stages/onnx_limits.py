"""What a model file may hold, checked on its bytes before anything parses them. Standard library only.

Parsing costs up to a hundred times the bytes of a file made for it (an empty node is two bytes in the file). So the
protobuf's outline is walked first, skipping all contents: field numbers are those of onnx.proto3.
"""
import mmap
import os

from worker.stage_api import StageError

MAX_PROTO_BYTES = 2**31 - 1  # protobuf's own limit for one message; larger weights lie in external data
MAX_ENTRIES = 1000000  # nodes, initialisers, value infos, … of all graphs together
MAX_NODES = 200000
MAX_NESTING = 16  # subgraphs within subgraphs
MAX_TENSOR_ELEMENTS = 2**30
MAX_EXTERNAL_FILES = 10000

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

# What leads from a model to its nodes: message -> {field number: message}; other fields are skipped.
_OUTLINE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}
_SMALL_NODE_BYTES = 512


class _Truncated(Exception):
    """A field runs past the end of its message."""


def check_file(path):
    """Refuse what is no ONNX model or too large a one, by its bytes alone.

    Raises:
        StageError: `model_empty`, `model_not_onnx`, `model_too_large`, `model_too_complex`, `model_unreadable`.
    """
    size = os.path.getsize(path)
    if size == 0:
        raise StageError("model_empty", "the model file is empty (0 bytes)", "upload the file again")
    if size > MAX_PROTO_BYTES:
        raise StageError("model_too_large", f"model.onnx has {size} bytes; one ONNX file holds at most 2 GiB",
                         "save the model with external data: onnx.save(model, path, save_as_external_data=True)")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for offset, magic, what in _OTHER_FORMATS:
            if data[offset:offset + len(magic)] == magic:
                raise StageError("model_not_onnx", f"the file is {what}, not an ONNX model",
                                 "export the model to ONNX (for PyTorch: torch.onnx.export) and send the .onnx file")
        try:
            # Small nodes are first taken at the most that they could hold, which is cheap and nearly always enough.
            if _count_entries(data, _SMALL_NODE_BYTES) > MAX_ENTRIES:
                entries = _count_entries(data, 0)
                if entries > MAX_ENTRIES:
                    raise StageError("model_too_complex", f"the model has more than {MAX_ENTRIES} nodes and tensors",
                                     "split the model, or simplify it before the conversion")
        except _Truncated as error:
            raise unreadable(size) from error


def unreadable(size):
    """The error for `size` bytes that do not parse."""
    return StageError("model_unreadable", f"the {size} bytes are no readable ONNX model: truncated or damaged",
                      "compare size and checksum with the original and upload it again; "
                      "onnx.checker.check_model(path) tells whether the original itself is sound")


def too_deep():
    return StageError("model_too_complex", f"subgraphs are nested more than {MAX_NESTING} deep",
                      "flatten the model's If, Loop and Scan bodies")


def _count_entries(data, small):
    """Fields of all models, graphs and functions; a node of up to `small` bytes counts as half its bytes."""
    entries = 0
    pending = [(0, len(data), "model", 0)]
    while pending:
        start, end, message, depth = pending.pop()
        if depth > MAX_NESTING:
            raise too_deep()
        inner = _OUTLINE[message]
        for number, first, last in _fields(data, start, end):
            entries += message not in ("node", "attribute")
            kind = inner.get(number)
            if kind is None or first == last:
                continue
            if kind == "node" and last - first <= small:
                entries += (last - first) // 2
            else:
                pending.append((first, last, kind, depth + (message == "attribute")))
        if entries > MAX_ENTRIES:
            break
    return entries


def _fields(data, position, end):
    """`(number, start, end)` of each length-delimited field; others give `(number, 0, 0)`."""
    while position < end:
        key, position = _varint(data, position, end)
        wire, first = key & 7, 0
        if wire == 0:
            _, position = _varint(data, position, end)
        elif wire == 2:
            length, first = _varint(data, position, end)
            position = first + length
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise _Truncated
        if position > end:
            raise _Truncated
        yield key >> 3, first, position if first else 0


def _varint(data, position, end):
    value = shift = 0
    while True:
        if position >= end or shift > 63:
            raise _Truncated
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
