"""Stage: the model in a form that rknn-toolkit2 reads: in an opset that it knows, with the attributes that it asks for.

What is changed is run beside the model before it. Where nothing has to be, the model of `optimize` stays as it is.
"""
import os
import shutil

from shared.rules.models import MODEL
from worker.platforms.rockchip import reasons
from worker.stage_api import log
from worker.stages.einsum import spell_out_einsum
from worker.stages.graph import Graph
from worker.stages.graph_edits import check_computes
from worker.stages.infinities import bound_masks
from worker.stages.onnx_model import external_entries, is_external, walk_nodes, walk_tensors
from worker.stages.opsets import NoWayDown, lowered, opset_of
from worker.stages.proof import find_difference

NEWEST_OPSET = 19  # rknn-toolkit2 2.5.0: "Unsupport onnx opset 21, need <= 19!"
NEWEST_IR = 11  # of its onnx 1.18
_WRITTEN_OUT = ("LayerNormalization",)  # without axis or epsilon: "KeyError: 'LayerNormalization'"

_OF_SEVERAL = ("Max", "Mean", "Min", "Sum")


def run(job):
    """Writes model.onnx, with its external data beside it, if something had to be changed.

    Facts: `opset`, and `changed`, what was done.

    Raises:
        StageError: `opset_unsupported`: the model cannot be written in an opset that the tool reads;
            `unsupported_operator`: no output depends on an input.
    """
    import onnx

    source = job["inputs"]["optimize"]
    model = onnx.load(os.path.join(source["dir"], MODEL), load_external_data=False)
    check_computes(model)
    opset, changed, problem = opset_of(model), [], ""
    candidates = iter([model])
    if opset > NEWEST_OPSET:
        candidates = lowered(model, NEWEST_OPSET, source["dir"], job["threads"])
        changed.append("opset")
    try:
        for candidate in candidates:
            done = changed + _adapt(candidate)
            if not done:
                break
            _write(candidate, source["dir"], job["output_dir"])
            found = find_difference(os.path.join(source["dir"], MODEL), os.path.join(job["output_dir"], MODEL),
                                    source["facts"]["inputs"], job["threads"])
            if not found:
                return {"opset": opset_of(candidate), "changed": done}
            problem = problem or found
            log(f"another answer: {found}")
            shutil.rmtree(job["output_dir"])
            os.mkdir(job["output_dir"])
    except NoWayDown as error:
        raise reasons.OPSET_TOO_NEW(opset=opset, newest=NEWEST_OPSET, said=error) from error
    if changed:
        raise reasons.OPSET_TOO_NEW(opset=opset, newest=NEWEST_OPSET, said=problem)
    return {"opset": opset, "changed": []}


def _adapt(model):
    """What the tool wants besides; the names of what was done."""
    done = []
    if model.ir_version > NEWEST_IR:
        model.ir_version = NEWEST_IR
        done.append("ir_version")
    written = [("attributes", _write_defaults(model)), ("einsum", spell_out_einsum(model)), ("forms", _of_one(model)),
               ("masks", _bound_masks(model))]
    return done + [name for name, found in written if found]


def _write(model, source, target):
    for location in {external_entries(tensor)["location"] for _, tensor in walk_tensors(model) if is_external(tensor)}:
        path = os.path.join(target, location)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(os.path.join(source, location), path)
    with open(os.path.join(target, MODEL), "wb") as file:
        file.write(model.SerializeToString())


def folder_of(job):
    """The folder of the model that the tool is given."""
    own = job["inputs"]["prepare"]["dir"]
    return own if os.path.exists(os.path.join(own, MODEL)) else job["inputs"]["optimize"]["dir"]


def _write_defaults(model):
    """Write out the attributes that are left out; whether there were any."""
    import onnx

    written = False
    opset = opset_of(model)
    for node in walk_nodes(model):
        if node.op_type not in _WRITTEN_OUT or node.domain not in ("", "ai.onnx"):
            continue
        given = {attribute.name for attribute in node.attribute}
        for name, attribute in onnx.defs.get_schema(node.op_type, opset).attributes.items():
            if name not in given and attribute.default_value.name:
                node.attribute.append(attribute.default_value)
                written = True
    return written


def _bound_masks(model):
    graph = Graph(model)
    changed = bound_masks(graph)
    if changed:
        graph.drop_unused_constants()
    return changed


def _of_one(model):
    """Make an Identity of a greatest, least, sum or mean of one value, on which the tool crashes; whether there were
    any."""
    found = False
    for node in walk_nodes(model):
        if node.op_type in _OF_SEVERAL and node.domain in ("", "ai.onnx") and len(node.input) == 1:
            node.op_type, found = "Identity", True
    return found
