"""A stored tensor and a value's type, without the tensor's data. Field numbers are those of onnx.proto3."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shared.rules import models as rules
from shared.rules.onnx.bounds import MAX_LISTED, Incomplete
from shared.rules.onnx.wire import BYTES, VARINT, Source, signed
from shared.rules.reasons import outline as reasons

TENSOR = {"dims": 1, "data_type": 2, "float_data": 4, "int32_data": 5, "string_data": 6, "int64_data": 7, "name": 8,
          "raw_data": 9, "double_data": 10, "uint64_data": 11, "external_data": 13, "data_location": 14}
VALUE = {"name": 1, "type": 2}
KINDS = {1: "tensor", 4: "sequence", 5: "map", 7: "opaque", 8: "sparse_tensor", 9: "optional"}  # of TypeProto
EXTERNAL = 1

# TensorProto.DataType.
TYPES = {
    1: "FLOAT", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "STRING", 9: "BOOL",
    10: "FLOAT16", 11: "DOUBLE", 12: "UINT32", 13: "UINT64", 14: "COMPLEX64", 15: "COMPLEX128", 16: "BFLOAT16",
    17: "FLOAT8E4M3FN", 18: "FLOAT8E4M3FNUZ", 19: "FLOAT8E5M2", 20: "FLOAT8E5M2FNUZ", 21: "UINT4", 22: "INT4",
    23: "FLOAT4E2M1", 24: "FLOAT8E8M0", 25: "UINT2", 26: "INT2", 27: "FLOAT6E2M3", 28: "FLOAT6E3M2"}
# Of these fields the length tells the number of entries: bits of one. Others are packed varints.
_COUNTED = {TENSOR["float_data"]: ("float_data", 32), TENSOR["double_data"]: ("double_data", 64)}
_TOLD = ("float_data", "double_data", "string_data")
_NUMBER = {number: name for name, number in TENSOR.items()}


@dataclass
class Tensor:
    name: str = ""
    dims: list[int] = field(default_factory=list)
    data_type: int = 0
    raw_bytes: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    external: bool = False
    entries: dict[str, str] = field(default_factory=dict)  # location, offset, length


def read_tensor(source: Source, start: int, end: int) -> Tensor:
    tensor = Tensor()
    for number, kind, first, last in source.fields(start, end):
        name = _NUMBER.get(number)
        if name == "dims" and kind in (VARINT, BYTES):
            tensor.dims += source.integers(kind, first, last)
        elif name == "data_type" and kind == VARINT:
            tensor.data_type = int32(first)
        elif name == "data_location" and kind == VARINT:
            tensor.external = int32(first) == EXTERNAL
        elif name == "name" and kind == BYTES:
            tensor.name = source.text(first, last)
        elif name == "raw_data" and kind == BYTES:
            tensor.raw_bytes = last - first
        elif name == "string_data" and kind == BYTES:
            tensor.counts[name] = tensor.counts.get(name, 0) + 1
        elif name == "external_data" and kind == BYTES:
            key, value = _read_entry(source, first, last)
            tensor.entries[key] = value
        elif number in _COUNTED and kind != VARINT:
            name, bits = _COUNTED[number]
            tensor.counts[name] = tensor.counts.get(name, 0) + (last - first) * 8 // bits
        if len(tensor.dims) > MAX_LISTED or len(tensor.entries) > MAX_LISTED:
            raise Incomplete(reasons.TENSOR_TOO_SPLIT)
    return tensor


def check_tensor(name: str, tensor: Tensor) -> tuple[int, int]:
    """`(elements, bytes)`; `name` is what the user knows the tensor by.

    Raises:
        Refusal: `tensor_too_large`, `model_invalid`.
    """
    count = rules.count_elements(name, tensor.dims)
    if tensor.data_type not in TYPES:
        raise rules.unknown_type(name, tensor.data_type)
    type_name = TYPES[tensor.data_type]
    size = rules.size_bytes(type_name, count)
    if tensor.external:
        return count, size
    if tensor.raw_bytes is not None:
        rules.check_data(name, tensor.dims, type_name, tensor.raw_bytes, size, "bytes")
        return count, size
    where, per_element = rules.ELEMENT_FIELDS.get(type_name, ("", 0))
    if where in _TOLD:
        rules.check_data(name, tensor.dims, type_name, tensor.counts.get(where, 0), count * per_element, "values")
    return count, size


def read_value(source: Source, start: int, end: int) -> dict[str, Any]:
    """`{name, dtype, shape}` as the facts of inspect have them: an open dimension is its symbol, or None."""
    value: dict[str, Any] = {"name": "", "dtype": "untyped", "shape": None}
    for number, kind, first, last in source.fields(start, end):
        if kind == BYTES and number == VALUE["name"]:
            value["name"] = source.text(first, last)
        elif kind == BYTES and number == VALUE["type"]:
            for inner, inner_kind, inner_first, inner_last in source.fields(first, last):
                if inner_kind == BYTES and inner in KINDS:
                    value["dtype"], value["shape"] = KINDS[inner], None
                    if KINDS[inner] == "tensor":
                        value["dtype"], value["shape"] = _read_tensor_type(source, inner_first, inner_last)
    return value


def _read_tensor_type(source: Source, start: int, end: int) -> tuple[str, list[int | str | None] | None]:
    type_number, shape = 0, None
    for number, kind, first, last in source.fields(start, end):
        if number == 1 and kind == VARINT:
            type_number = int32(first)
        elif number == 2 and kind == BYTES:
            shape = shape or []
            shape += [_read_dimension(source, dim_first, dim_last)
                      for dim, dim_kind, dim_first, dim_last in source.fields(first, last)
                      if dim == 1 and dim_kind == BYTES]
            if len(shape) > MAX_LISTED:
                raise Incomplete(reasons.TOO_MANY_DIMENSIONS)
    name = TYPES[type_number].lower() if type_number in TYPES else (
        "undefined" if type_number == 0 else str(type_number))
    return name, shape


def _read_dimension(source: Source, start: int, end: int) -> int | str | None:
    dimension: int | str | None = None
    for number, kind, first, last in source.fields(start, end):
        if number == 1 and kind == VARINT:
            dimension = signed(first)
        elif number == 2 and kind == BYTES:
            dimension = source.text(first, last)
    if isinstance(dimension, int):
        return dimension if dimension > 0 else None
    return dimension or None


def _read_entry(source: Source, start: int, end: int) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    for number, kind, first, last in source.fields(start, end):
        if kind == BYTES and number in texts:
            texts[number] = source.text(first, last)
    return texts[1], texts[2]


def int32(value: int) -> int:
    value &= (1 << 32) - 1
    return value - (1 << 32) if value >> 31 else value
