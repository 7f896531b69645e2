"""Whether a model's tensors are what they say: size, data, external files."""
import os

from worker.stage_api import StageError
from worker.stages import onnx_limits
from worker.stages.external_data import check_inside, check_location
from worker.stages.onnx_model import external_entries, is_external, walk_tensors

# Bits per element; types without a fixed size (STRING) are not here.
_BITS = {"FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8,
         "FLOAT16": 16, "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16,
         "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8, "UINT4": 4,
         "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2}
# Where onnx.proto3 puts the elements that are not in raw_data, and how many entries one element takes.
_FIELDS = {"FLOAT": ("float_data", 1), "COMPLEX64": ("float_data", 2), "DOUBLE": ("double_data", 1),
           "COMPLEX128": ("double_data", 2), "INT64": ("int64_data", 1), "UINT32": ("uint64_data", 1),
           "UINT64": ("uint64_data", 1), "STRING": ("string_data", 1)}


def check_tensors(model, folder):
    """Check every stored tensor; the number of elements of all, and `{external file: its bytes}`.

    Raises:
        StageError: `tensor_too_large`, `model_invalid`, `external_data_missing`, `external_data_outside`.
    """
    elements, files = 0, {}
    for name, tensor in walk_tensors(model):
        count = count_elements(name, tensor.dims)
        elements += count
        type_name = _type_name(name, tensor)
        if is_external(tensor):
            _check_external(name, tensor, count * _BITS.get(type_name, 0), folder, files)
        else:
            _check_data(name, tensor, type_name, count)
    return elements, files


def count_elements(name, dims):
    """The product of the dimensions.

    Raises:
        StageError: `tensor_too_large`, `model_invalid` (a negative dimension).
    """
    count = 1
    for dim in dims:
        if dim < 0:
            raise StageError("model_invalid", f"tensor {name!r} has a negative dimension: {list(dims)}",
                             "export the model again")
        count *= dim
    if count > onnx_limits.MAX_TENSOR_ELEMENTS:
        raise StageError("tensor_too_large", f"tensor {name!r} of shape {list(dims)} has {count} elements; "
                                             f"at most {onnx_limits.MAX_TENSOR_ELEMENTS} are converted",
                         "split such a tensor, or convert the model with smaller dimensions")
    return count


def check_value_shapes(values):
    """Refuse an input, output or intermediate value whose known dimensions alone are too many elements.

    Raises:
        StageError: `tensor_too_large`.
    """
    for value in values:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.dim_value > 0]
        count_elements(value.name, dims)


def _type_name(name, tensor):
    if tensor.data_type not in tensor.DataType.values() or not tensor.data_type:
        raise StageError("model_invalid", f"tensor {name!r} has the unknown data type {tensor.data_type}",
                         "export the model again, or with an older ONNX opset")
    return tensor.DataType.Name(tensor.data_type)


def _check_data(name, tensor, type_name, count):
    if tensor.HasField("raw_data"):
        have, want, unit = len(tensor.raw_data), (count * _BITS.get(type_name, 0) + 7) // 8, "bytes"
    else:
        field, per_element = _FIELDS.get(type_name, ("int32_data", 1))
        bits = _BITS.get(type_name, 8)
        want = count * per_element if bits >= 8 else (count * bits + 7) // 8
        have, unit = len(getattr(tensor, field)), "values"
    if have != want:
        raise StageError("model_invalid", f"tensor {name!r} of shape {list(tensor.dims)} needs {want} {unit} "
                                          f"of {type_name} and holds {have}",
                         "the file is damaged, or its exporter is at fault: export the model again")


def _check_external(name, tensor, bits, folder, files):
    entries = external_entries(tensor)
    location = check_location(entries.get("location", ""))
    check_inside(folder, location)
    path = os.path.join(folder, location)
    if location not in files:
        if not os.path.isfile(path):
            raise StageError("external_data_missing",
                             f"tensor {name!r} lies in {location!r}, which is not beside the model",
                             "upload the external data files into the model's folder, under the names that it uses")
        files[location] = os.path.getsize(path)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", (bits + 7) // 8))
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0 or length != (bits + 7) // 8:
        raise StageError("model_invalid", f"tensor {name!r} of shape {list(tensor.dims)} names bytes of {location!r} "
                                          f"that do not fit its shape: offset {entries.get('offset', 0)}, "
                                          f"length {entries.get('length')}",
                         "export the model again")
    if offset + length > files[location]:
        raise StageError("external_data_missing", f"tensor {name!r} ends at byte {offset + length} of {location!r}, "
                                                  f"which has only {files[location]}",
                         "the file is cut or belongs to another model: upload it again")
