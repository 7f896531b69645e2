"""Stage: the model in a form that rknn-toolkit2 reads: in an opset that it knows, with the attributes that it asks for.

What is changed is run beside the model before it. Where nothing has to be, the model of `optimize` stays as it is.
"""
import os

from shared.rules.models import MODEL
from worker.platforms.rockchip import reasons
from worker.stage_api import log
from worker.stages.control_flow import simplified
from worker.stages.onnx_model import external_entries, is_external, walk_nodes, walk_tensors
from worker.stages.proof import find_difference

NEWEST_OPSET = 19  # rknn-toolkit2 2.5.0: "Unsupport onnx opset 21, need <= 19!"
NEWEST_IR = 11  # of its onnx 1.18
_WRITTEN_OUT = ("LayerNormalization",)  # without axis or epsilon: "KeyError: 'LayerNormalization'"


def run(job):
    """Writes model.onnx, with its external data beside it, if something had to be changed.

    Facts: `opset`, and `changed`, what was done.

    Raises:
        StageError: `opset_unsupported`: the model cannot be written in an opset that the tool reads.
    """
    import onnx

    source = job["inputs"]["optimize"]
    before, after = os.path.join(source["dir"], MODEL), os.path.join(job["output_dir"], MODEL)
    model = onnx.load(before, load_external_data=False)
    opset = _opset(model)
    changed = []
    if opset > NEWEST_OPSET:
        model = _lower(model, opset, source["dir"], job["threads"])
        changed.append("opset")
    if model.ir_version > NEWEST_IR:
        model.ir_version = NEWEST_IR
        changed.append("ir_version")
    if _write_defaults(model):
        changed.append("attributes")
    if not changed:
        return {"opset": opset, "changed": []}
    _bring_data(model, source["dir"], job["output_dir"])
    with open(after, "wb") as file:
        file.write(model.SerializeToString())
    found = find_difference(before, after, source["facts"]["inputs"], job["threads"])
    if found:
        raise reasons.OPSET_TOO_NEW(opset=opset, newest=NEWEST_OPSET, said=found)
    return {"opset": _opset(model), "changed": changed}


def folder_of(job):
    """The folder of the model that the tool is given."""
    own = job["inputs"]["prepare"]["dir"]
    return own if os.path.exists(os.path.join(own, MODEL)) else job["inputs"]["optimize"]["dir"]


def _opset(model):
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def _lower(model, opset, source, threads):
    """The model in the newest opset that the tool reads. An operator that this does not have is spelled out in others,
    as ONNX defines it; what is constant of that is computed."""
    import onnx
    from onnx import inliner, version_converter

    try:
        newer = {(node.domain, node.op_type) for node in walk_nodes(model) if node.domain in ("", "ai.onnx")
                 and _is_newer(onnx.defs.get_schema(node.op_type, opset))}
        if newer:
            log(f"spelled out in other operators: {sorted(name for _, name in newer)}")
            model = _with_types(model)
            model = inliner.inline_selected_functions(model, sorted(newer), inline_schema_functions=True)
            model = _only_used_domains(simplified(model, source, threads) or model)
        return version_converter.convert_version(model, NEWEST_OPSET)
    except Exception as error:  # C++ exceptions without a common base, and the schema's own
        said = str(error).partition("failed: ")[2] or str(error)
        raise reasons.OPSET_TOO_NEW(opset=opset, newest=NEWEST_OPSET, said=said) from error


def _is_newer(schema):
    """Whether the operator, as it is, has no counterpart in the wanted opset: it is new, or takes other inputs."""
    import onnx

    if schema.since_version <= NEWEST_OPSET:
        return False
    if not (schema.has_function or schema.has_context_dependent_function):
        return False
    if not onnx.defs.has(schema.name, NEWEST_OPSET, schema.domain):
        return True
    return onnx.defs.get_schema(schema.name, NEWEST_OPSET, schema.domain).deprecated


def _with_types(model):
    """The model with the type of each value, constants among them: the inliner looks them up."""
    import onnx

    typed = onnx.shape_inference.infer_shapes(model)
    for tensor in typed.graph.initializer:
        typed.graph.value_info.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return typed


def _only_used_domains(model):
    """ONNX Runtime lists all that it knows."""
    used = {node.domain for node in walk_nodes(model)} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _write_defaults(model):
    """Write out the attributes that are left out; whether there were any."""
    import onnx

    written = False
    opset = _opset(model)
    for node in walk_nodes(model):
        if node.op_type not in _WRITTEN_OUT or node.domain not in ("", "ai.onnx"):
            continue
        given = {attribute.name for attribute in node.attribute}
        for name, attribute in onnx.defs.get_schema(node.op_type, opset).attributes.items():
            if name not in given and attribute.default_value.name:
                node.attribute.append(attribute.default_value)
                written = True
    return written


def _bring_data(model, source, target):
    for location in {external_entries(tensor)["location"] for _, tensor in walk_tensors(model) if is_external(tensor)}:
        path = os.path.join(target, location)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(os.path.join(source, location), path)
