"""Stage: the model's properties, and whether it can be converted at all. Writes no files; its facts are the result."""
import json
import os

from shared.rules import models as rules
from shared.rules.quantized import quantizing_operators
from shared.rules.reasons import model as reasons
from worker.stages.bounds import computing, inferring
from worker.stages.messages import tidy
from worker.stages.onnx_model import drop_weights, model_inputs, read_model, walk_values
from worker.stages.operators import check_operators, check_versions, find_deprecated
from worker.stages.tensors import check_tensors, check_value_shapes


def run(job):
    """Facts: versions, inputs and outputs, operators, counts and sizes, warnings. `dynamic_inputs` names the inputs
    with a dimension that the model leaves open; a shape's open dimension is its symbol, or null without one.

    Raises:
        StageError: one of the codes of `onnx_model`, `operators`, `tensors`; `model_invalid`, `unsupported_type`,
            `model_too_complex`.
    """
    folder = job["inputs"]["fetch"]["dir"]
    path = os.path.join(folder, rules.MODEL)
    with computing(os.path.getsize(path)):
        return _inspect(folder, path, job)


def _inspect(folder, path, job):
    model = read_model(path)
    opsets = check_versions(model)
    check_value_shapes(walk_values(model))
    elements, external = check_tensors(model, folder)
    operators, warnings = check_operators(model, opsets)
    warnings += _check_structure(model, path, job, find_deprecated(model, opsets))
    quantizing = quantizing_operators(operators)
    if quantizing:
        warnings.append(reasons.QUANTIZED_ALREADY(names=", ".join(quantizing)).en)
    inputs = [describe(value) for value in model_inputs(model)]
    outputs = [describe(value) for value in model.graph.output]
    for entry in inputs + outputs:
        rules.check_type(entry)
    dynamic = [entry["name"] for entry in inputs if entry["shape"] is None or not all(
        isinstance(dim, int) for dim in entry["shape"])]
    facts = {
        "ir_version": model.ir_version,
        "opsets": opsets,
        "producer": " ".join(part for part in (model.producer_name, model.producer_version) if part),
        "inputs": inputs,
        "outputs": outputs,
        "dynamic_inputs": dynamic,
        "operators": operators,
        "nodes": sum(operators.values()),
        "tensor_elements": elements,
        "size_bytes": os.path.getsize(path) + sum(external.values()),
        "external_data": [{"location": location, "size_bytes": size} for location, size in sorted(external.items())],
        "warnings": warnings,
    }
    rules.check_facts(len(json.dumps(facts)))
    if not dynamic:
        check_inferred_shapes(model)
    return facts


def check_inferred_shapes(model):
    """Infer every value's shape and refuse absurd ones. Empties the model's large tensors in place.

    Raises:
        StageError: `tensor_too_large`.
    """
    import onnx

    drop_weights(model)
    try:
        with inferring(model.ByteSize()):
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # C++ exceptions of its own and of the standard library ("vector::reserve", "bad_alloc")
        return  # its rules are stricter than the runtimes', its memory is bounded; optimize loads the model for real
    check_value_shapes(walk_values(inferred))


def _check_structure(model, path, job, deprecated):
    """Warnings of onnx's own checker.

    Raises:
        StageError: `model_invalid`.
    """
    import onnx

    if not model.graph.output:
        raise rules.no_output()
    if any(value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")
           for value in [*model.graph.input, *model.graph.output]):
        return ["an input or output has no shape, which onnx's checker refuses: only ONNX Runtime checks the graph"]
    if deprecated:
        return [f"{', '.join(deprecated)} of this opset is deprecated, which onnx's checker refuses: only ONNX Runtime "
                "checks the graph"]
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as error:
        raise reasons.BREAKS_RULES(said=tidy(error, job)) from error
    return []


def describe(value):
    """`{name, dtype, shape}` of a value; dtype is ONNX's (`float`, `int64`) or the kind of a non-tensor."""
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return {"name": value.name, "dtype": (kind or "untyped").replace("_type", ""), "shape": None}
    tensor = value.type.tensor_type
    types = onnx.TensorProto.DataType
    dtype = types.Name(tensor.elem_type).lower() if tensor.elem_type in types.values() else str(tensor.elem_type)
    shape = [dim.dim_value if dim.dim_value > 0 else dim.dim_param or None for dim in tensor.shape.dim]
    return {"name": value.name, "dtype": dtype, "shape": shape if tensor.HasField("shape") else None}
