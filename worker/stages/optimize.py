"""Stage: the model with static shapes, simplified by ONNX Runtime's portable passes."""
import os
import shutil
from collections import Counter

from shared.rules.models import MODEL, shown
from shared.rules.shapes import choose_shapes
from worker.stage_api import report
from worker.stages import reasons
from worker.stages.bounds import computing, loading
from worker.stages.inspect import check_inferred_shapes
from worker.stages.messages import raise_if_out_of_memory, tidy
from worker.stages.onnx_model import model_inputs, walk_nodes
from worker.stages.tensors import check_value_shapes

_DATA = MODEL + ".data"
_EMBED_MAX_BYTES = 1500000000  # weights above it are saved beside the model: a protobuf ends at 2 GiB
_FOLD_MAX_BYTES = 1 << 20  # a constant that folding would make larger is left to be computed


def run(job):
    """Writes model.onnx (with model.onnx.data beside it for large weights).

    Facts: `inputs` and `outputs` with their shapes now, node counts before and after, `simplified`, warnings.

    Raises:
        StageError: see `shared.rules.shapes`; `input_shape_mismatch`, `tensor_too_large`, `model_invalid`,
            `model_too_complex`.
    """
    inspected = job["inputs"]["inspect"]["facts"]
    with computing(inspected["size_bytes"], inspected["nodes"]):
        return _optimize(job)


def _optimize(job):
    import onnx

    source = job["inputs"]["fetch"]["dir"]
    inspected = job["inputs"]["inspect"]["facts"]
    parameters = job["parameters"]
    shapes, chosen = choose_shapes(inspected["inputs"], parameters["input_shape"] or {}, parameters["auto_input_shape"])
    warnings = [warning.en for warning in chosen]
    model = onnx.load(os.path.join(source, MODEL), load_external_data=False)  # inspect found it within all limits
    changed = _fix_inputs(model, shapes)
    check_value_shapes(model_inputs(model))
    data = model.SerializeToString()
    before = Counter((node.domain, node.op_type) for node in walk_nodes(model))
    del model
    report(20, "simplifying")

    target = os.path.join(job["output_dir"], MODEL)
    outside = bool(inspected["external_data"]) or inspected["size_bytes"] > _EMBED_MAX_BYTES
    problem, outputs = _simplify(data, source, target, outside, job)
    if problem is None:
        problem, model = _make_portable(target, before)
    if problem is not None:
        warnings.append("not simplified: " + problem)
        _keep_unsimplified(data, source, job["output_dir"], inspected["external_data"])
        model = onnx.load(target, load_external_data=False)
    nodes_after = sum(1 for _ in walk_nodes(model))
    if changed:  # else inspect has looked already
        check_inferred_shapes(model)
    warnings += [f"output {entry['name']!r} keeps a dimension that depends on the data"
                 for entry in outputs if None in entry["shape"]]
    return {
        "inputs": [{"name": entry["name"], "dtype": entry["dtype"], "shape": shapes[entry["name"]]}
                   for entry in inspected["inputs"]],
        "outputs": outputs or inspected["outputs"],
        "nodes_before": sum(before.values()),
        "nodes_after": nodes_after,
        "simplified": problem is None,
        "warnings": warnings,
    }


def _fix_inputs(model, shapes):
    """Write the shapes into the model; whether that changed any. Shapes derived from open ones are forgotten."""
    changed = False
    for value in model_inputs(model):
        tensor = value.type.tensor_type
        if [dim.dim_value for dim in tensor.shape.dim] == shapes[value.name] and tensor.HasField("shape"):
            continue
        changed = True
        del tensor.shape.dim[:]
        tensor.shape.SetInParent()
        for dim in shapes[value.name]:
            tensor.shape.dim.add().dim_value = dim
    if changed:
        del model.graph.value_info[:]
        for value in model.graph.output:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    return changed


def _simplify(data, source, target, outside, job):
    """Let ONNX Runtime write the simplified model; `(None, outputs)` or `(why it could not, [])`."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    size = job["inputs"]["inspect"]["facts"]["size_bytes"]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = target
    options.intra_op_num_threads = job["threads"]
    options.log_severity_level = 3
    options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(_FOLD_MAX_BYTES))
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", source)
    if outside:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _DATA)
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    try:
        with loading(size):
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except (errors.Fail, errors.InvalidGraph, errors.InvalidProtobuf, errors.InvalidArgument) as error:
        raise_if_out_of_memory(error)
        if isinstance(error, errors.InvalidProtobuf) and "serialization" in str(error):
            raise reasons.CONSTANTS_TOO_LARGE() from error
        if "ShapeInferenceError" in str(error):
            raise reasons.DOES_NOT_FIT(said=tidy(error, job)) from error
        raise reasons.REFUSED(said=tidy(error, job)) from error
    except (errors.NotImplemented, errors.RuntimeException) as error:
        raise_if_out_of_memory(error)
        return "ONNX Runtime cannot run it: " + tidy(error, job, 300), []
    return None, [{"name": value.name, "dtype": value.type[len("tensor("):-1],  # "tensor(float)"
                   "shape": [dim if isinstance(dim, int) else None for dim in value.shape]}
                  for value in session.get_outputs()]


def _make_portable(target, before):
    """Strip what only ONNX Runtime reads; `(None, model)`, or `(why another tool could not read it, None)`."""
    import onnx

    model = onnx.load(target, load_external_data=False)
    after = Counter((node.domain, node.op_type) for node in walk_nodes(model))
    known = {domain for domain, _ in before} | {""}
    foreign = sorted(shown(*operator) for operator in after if operator[0] not in known)
    if foreign:
        return "it would need operators of ONNX Runtime: " + ", ".join(foreign), None
    if after["", "Cast"] > before["", "Cast"]:
        return "ONNX Runtime would run part of it in another precision", None
    used = {domain for domain, _ in after} | {function.domain for function in model.functions} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    with open(target, "wb") as file:
        file.write(model.SerializeToString())
    return None, model


def _keep_unsimplified(data, source, output_dir, external):
    for name in (MODEL, _DATA):
        path = os.path.join(output_dir, name)
        if os.path.exists(path):
            os.remove(path)
    with open(os.path.join(output_dir, MODEL), "wb") as file:
        file.write(data)
    for entry in external:
        path = os.path.join(output_dir, entry["location"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(os.path.join(source, entry["location"]), path)
