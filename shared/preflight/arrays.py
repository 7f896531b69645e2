"""A `.npy` file's header, from its first bytes.

Source: NumPy reference, "NPY format" (numpy.lib.format).
"""
from __future__ import annotations

import re
from math import prod
from typing import Any

from shared.rules.bilingual import Bilingual
from shared.rules.onnx.bounds import MAX_LISTED
from shared.rules.onnx.wire import Ask
from shared.rules.reasons import calibration as reasons

FIRST_BYTES = 4096

_MAGIC = b"\x93NUMPY"
_VERSIONS = {(1, 0): 2, (2, 0): 4}  # bytes of the header's length
_DESCR = re.compile(r"'descr': *'([<>|=]?)([a-zA-Z])(\d*)'")
_SHAPE = re.compile(r"'shape': *\(((?: *\d{1,18} *,?)*)\)")
_NAMES = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


def read_array(ask: Ask, size: int) -> dict[str, Any]:
    """`{"error"}` (Chinese, English), or `{"kind", "dtype", "shape", "missing_bytes"}`; `{}` where the header is of an
    unusual form."""
    return parse_array(ask(0, min(FIRST_BYTES, size)) if size else b"", size)


def parse_array(start: bytes, size: int) -> dict[str, Any]:
    """The same from the first bytes of a file of `size` bytes."""
    if start[:len(_MAGIC)] != _MAGIC or len(start) < 8:
        return _no_array(reasons.NO_MAGIC)
    version = (start[6], start[7])
    if version not in _VERSIONS:
        return _no_array(reasons.UNKNOWN_VERSION(version=version))
    begin = 8 + _VERSIONS[version]
    end = begin + int.from_bytes(start[8:begin], "little")
    if end > size:
        return _no_array(reasons.HEADER_CUT)
    header = start[begin:end].decode("latin-1")
    descr, shape = _DESCR.search(header), _SHAPE.search(header)
    if not descr or not shape:
        return {}
    order, kind, digits = descr.groups()
    dims = [int(part) for part in shape.group(1).replace(" ", "").split(",") if part]
    if len(dims) > MAX_LISTED:
        return {}
    item_bytes = int(digits[:9] or 0)
    missing = end + prod(dims) * item_bytes - size if kind in "fiub" else 0
    return {"kind": kind, "dtype": _dtype_name(order, kind, item_bytes), "shape": dims,
            "missing_bytes": max(0, missing)}


def _no_array(said: Bilingual) -> dict[str, Any]:
    text = reasons.NOT_NPY(said=said)
    return {"error": [text.zh, text.en]}


def _dtype_name(order: str, kind: str, item_bytes: int) -> str:
    """As NumPy prints it."""
    if kind == "O":
        return "object"
    if kind == "b":
        return "bool"
    if kind in _NAMES and order != ">":
        return f"{_NAMES[kind]}{8 * item_bytes}"
    return f"{order}{kind}{item_bytes}"
