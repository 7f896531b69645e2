"""Stand-in: NumPy's types as MagicMind's."""
from ..runtime.core import DataType

_BY_NUMPY = {"float32": DataType.FLOAT32, "float16": DataType.FLOAT16, "int8": DataType.INT8, "int16": DataType.INT16,
             "int32": DataType.INT32, "uint8": DataType.UINT8, "bool": DataType.BOOL}


def get_datatype_by_numpy(dtype):
    return _BY_NUMPY[str(dtype)]
