"""A MagicMind model's file, read again."""
from worker.stages.messages import raise_if_out_of_memory, tidy

# mm.DataType's names -> NumPy's (magicmind_cloud, python_common/model_process.py, PARAM_DATA_TYPE_2_MM).
_DTYPES = {"FLOAT32": "float32", "FLOAT16": "float16", "INT8": "int8", "INT16": "int16", "INT32": "int32",
           "INT64": "int64", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "BOOL": "bool",
           "QINT8": "int8", "QINT16": "int16"}


def load(mm, path, job, reason):
    """The model in the file.

    Raises:
        StageError: by `reason`: MagicMind cannot read it.
    """
    model = mm.Model()
    try:
        status = model.deserialize_from_file(path)
    except Exception as error:  # the bindings raise what the libraries throw; they have no base class
        raise_if_out_of_memory(error)
        raise reason(said=tidy(error, job)) from error
    if status is not None and not status.ok():
        raise reason(said=tidy(status.error_message(), job))
    return model


def describe(mm, model):
    """`{"inputs": [{name, dtype, shape}], "outputs": …}`; dtype is NumPy's, an open dimension is None."""
    return {"inputs": _describe(model.get_input_names(), model.get_input_data_types(), model.get_input_dimensions()),
            "outputs": _describe(model.get_output_names(), model.get_output_data_types(),
                                 model.get_output_dimensions())}


def _describe(names, data_types, dimensions):
    return [{"name": str(name), "dtype": _dtype(data_type),
             "shape": [int(dim) if dim >= 0 else None for dim in dims.GetDims()]}
            for name, data_type, dims in zip(names, data_types, dimensions)]


def _dtype(data_type):
    name = str(data_type).rpartition(".")[2]  # an enumeration's member: "DataType.FLOAT32"
    return _DTYPES.get(name, name.lower())
