"""What a model file may hold, checked on its bytes before anything parses them. Standard library only.

Parsing costs up to a hundred times the bytes of a file made for it (an empty node is two bytes in the file). So the
protobuf's outline is walked first, skipping all contents: field numbers are those of onnx.proto3.
"""
import mmap
import os

from shared.rules import models as rules

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
    rules.check_size(size)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        rules.check_format(data[:rules.LONGEST_MAGIC])
        try:
            # Small nodes are first taken at the most that they could hold, which is cheap and nearly always enough.
            if (_count_entries(data, _SMALL_NODE_BYTES) > rules.MAX_ENTRIES
                    and _count_entries(data, 0) > rules.MAX_ENTRIES):
                raise rules.too_many_entries()
        except _Truncated as error:
            raise rules.unreadable(size) from error


def _count_entries(data, small):
    """Fields of all models, graphs and functions; a node of up to `small` bytes counts as half its bytes."""
    entries = 0
    pending = [(0, len(data), "model", 0)]
    while pending:
        start, end, message, depth = pending.pop()
        if depth > rules.MAX_NESTING:
            raise rules.too_deep()
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
        if entries > rules.MAX_ENTRIES:
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
