"""The check of a model's tensors: their sizes, their data, their external files."""
import os

from shared.rules import models as rules
from shared.rules.reasons import model as reasons
from worker.stages.onnx_model import external_entries, is_external, walk_tensors


def check_tensors(model, folder):
    """Check every stored tensor; the number of elements of all, and `{external file: its bytes}`.

    Raises:
        StageError: `tensor_too_large`, `model_invalid`, `external_data_missing`, `external_data_outside`.
    """
    elements, files = 0, {}
    for name, tensor in walk_tensors(model):
        count = rules.count_elements(name, tensor.dims)
        elements += count
        type_name = _type_name(name, tensor)
        if is_external(tensor):
            _check_external(name, tensor, rules.size_bytes(type_name, count), folder, files)
        else:
            _check_data(name, tensor, type_name, count)
    return elements, files


def check_value_shapes(values):
    """Refuse an input, output or intermediate value whose known dimensions alone are too many elements.

    Raises:
        StageError: `tensor_too_large`.
    """
    for value in values:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.dim_value > 0]
        rules.count_elements(value.name, dims)


def _type_name(name, tensor):
    if tensor.data_type not in tensor.DataType.values() or not tensor.data_type:
        raise rules.unknown_type(name, tensor.data_type)
    return tensor.DataType.Name(tensor.data_type)


def _check_data(name, tensor, type_name, count):
    if tensor.HasField("raw_data"):
        have, want, unit = len(tensor.raw_data), rules.size_bytes(type_name, count), "bytes"
    else:
        field, per_element = rules.ELEMENT_FIELDS.get(type_name, ("int32_data", 1))
        bits = rules.BITS.get(type_name, 8)
        want = count * per_element if bits >= 8 else (count * bits + 7) // 8
        have, unit = len(getattr(tensor, field)), "values"
    rules.check_data(name, tensor.dims, type_name, have, want, unit)


def _check_external(name, tensor, size, folder, files):
    entries = external_entries(tensor)
    location = rules.check_location(entries.get("location", ""))
    _check_inside(folder, location)
    path = os.path.join(folder, location)
    if location not in files:
        if not os.path.isfile(path):
            raise reasons.TENSORS_DATA_MISSING(name=name, location=location)
        files[location] = os.path.getsize(path)
    offset, length = rules.external_range(name, tensor.dims, entries, size)
    rules.check_end(name, offset + length, location, files[location])


def _check_inside(folder, location):
    """Refuse a location that is a link, or lies behind one, below `folder`; a missing file is no error here.

    Raises:
        StageError: `external_data_outside`.
    """
    path = folder
    for part in location.split("/"):
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise rules.behind_a_link(location)
