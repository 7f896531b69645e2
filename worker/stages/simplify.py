"""Portable passes over a model of static shapes: ONNX Runtime's, which fold and fuse; and `moments`."""
import hashlib
import os
import shutil
from collections import Counter

from shared.rules.models import MODEL, shown
from worker.stages import reasons
from worker.stages.bounds import loading
from worker.stages.graph_edits import part_names
from worker.stages.messages import raise_if_out_of_memory, tidy
from worker.stages.moments import settle
from worker.stages.onnx_model import walk_nodes

_DATA = MODEL + ".data"
_EMBED_MAX_BYTES = 1500000000  # weights above it are saved beside the model: a protobuf ends at 2 GiB
_INSERTED = "InsertedPrecisionFreeCast_"  # by ONNX Runtime, where it computes float16 in float32
_FOLD_MAX_BYTES = 1 << 20  # a constant that folding would make larger is left to be computed


def simplify(data, before, target, job):
    """`(None, the model, its outputs)`, or `(why it stays as it is, None, [])`. `before` counts the operators, as
    `{(domain, type): count}`; external data of the model is where `fetch` left it.

    Raises:
        StageError: `model_invalid`, `input_shape_mismatch`, `model_too_complex`.
    """
    problem, outputs = _optimize(data, target, job)
    if problem is None:
        problem, model = _make_portable(target, before)
    if problem is not None:
        return problem, None, outputs
    beside = os.path.join(os.path.dirname(target), _DATA)
    if sum(1 for _ in walk_nodes(model)) > sum(before.values()) and not os.path.exists(beside):
        # It has spelled out operators that it has not, after its passes: what is constant of that is still computed.
        known = Counter((node.domain, node.op_type) for node in walk_nodes(model))
        _optimize(model.SerializeToString(), target, job)
        problem, model = _make_portable(target, known)
    return (None, model, outputs) if problem is None else (problem, None, outputs)


def outline(model):
    """What two models share whose nodes say the same: how often each node occurs, Constants and names of nodes aside.
    ONNX Runtime writes any model in another order, and with constants as initialisers."""
    return Counter(_said(node) for node in walk_nodes(model) if node.op_type != "Constant")


def _said(node):
    digest = hashlib.sha256()
    inputs = list(node.input)
    while inputs and not inputs[-1]:
        inputs.pop()
    digest.update(repr((node.domain.replace("ai.onnx", ""), node.op_type, inputs, list(node.output))).encode())
    for attribute in sorted(node.attribute, key=lambda attribute: attribute.name):
        if not attribute.HasField("g") and not attribute.graphs:  # their nodes are walked as well
            digest.update(attribute.SerializeToString(deterministic=True))
    return digest.digest()


def _optimize(data, target, job):
    """Let ONNX Runtime write the simplified model; `(None, outputs)` or `(why it could not, [])`."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    inspected = job["inputs"]["inspect"]["facts"]
    size = inspected["size_bytes"]
    options = _options(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC, job)
    options.optimized_model_filepath = target
    options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(_FOLD_MAX_BYTES))
    if inspected["external_data"] or size > _EMBED_MAX_BYTES:
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
        if not _loads(data, job):
            raise reasons.REFUSED(said=tidy(error, job)) from error
        return "ONNX Runtime's passes fail on it: " + tidy(error, job, 300), []
    except (errors.NotImplemented, errors.RuntimeException) as error:
        raise_if_out_of_memory(error)
        return "ONNX Runtime cannot run it: " + tidy(error, job, 300), []
    return None, [{"name": value.name, "dtype": value.type[len("tensor("):-1],  # "tensor(float)"
                   "shape": [dim if isinstance(dim, int) else None for dim in value.shape]}
                  for value in session.get_outputs()]


def _loads(data, job):
    """Whether ONNX Runtime takes the model without its passes: then these are at fault."""
    import onnxruntime

    try:
        with loading(job["inputs"]["inspect"]["facts"]["size_bytes"]):
            onnxruntime.InferenceSession(data, _options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL, job),
                                         providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise_if_out_of_memory(error)
        return False
    return True


def _options(level, job):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = job["threads"]
    options.log_severity_level = 3
    options.add_session_config_entry("session.model_external_initializers_file_folder_path",
                                     job["inputs"]["fetch"]["dir"])
    return options


def _make_portable(target, before):
    """Strip what only ONNX Runtime reads; `(None, model)`, or `(why another tool could not read it, None)`."""
    import onnx

    model = onnx.load(target, load_external_data=False)
    after = Counter((node.domain, node.op_type) for node in walk_nodes(model))
    known = {domain for domain, _ in before} | {""}
    foreign = sorted(shown(*operator) for operator in after if operator[0] not in known)
    if foreign:
        return "it would need operators of ONNX Runtime: " + ", ".join(foreign), None
    if any(node.op_type == "Cast" and node.name.startswith(_INSERTED) for node in walk_nodes(model)):
        return "ONNX Runtime would run part of it in another precision", None
    used = {domain for domain, _ in after} | {function.domain for function in model.functions} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    settle(model)
    part_names(model)
    write(model, target)
    return None, model


def write(model, target):
    with open(target, "wb") as file:
        file.write(model.SerializeToString())


def keep_unsimplified(data, source, output_dir, external):
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
