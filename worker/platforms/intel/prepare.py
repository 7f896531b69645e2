"""Stage: the model in forms of which OpenVINO makes what ONNX means by them.

What is changed is run beside the model before it. Where nothing has to be, the model of `optimize` stays as it is.
"""
import os
import shutil

from shared.rules.models import MODEL
from worker.platforms.intel import reasons
from worker.platforms.intel.forms import HARMLESS, change_forms, computed_inputs, left_over
from worker.stages.graph import Graph
from worker.stages.onnx_model import external_entries, is_external, walk_tensors
from worker.stages.proof import find_difference

_MAX_NAMED = 10


def run(job):
    """Writes model.onnx, with its external data beside it, if something had to be changed.

    Facts: `forms`, how many nodes of which operator were given another form; warnings.

    Raises:
        StageError: `unsupported_operator`: an operator computes what OpenVINO takes as a constant alone, or a form of
            it cannot be written otherwise.
    """
    import onnx

    source = job["inputs"]["optimize"]
    before, after = (os.path.join(folder, MODEL) for folder in (source["dir"], job["output_dir"]))
    model = onnx.load(before, load_external_data=False)
    graph = Graph(model)
    computed = computed_inputs(graph)
    if computed:
        raise reasons.NEEDS_CONSTANTS(names=", ".join(computed[:_MAX_NAMED]))
    forms = change_forms(graph)
    left = left_over(graph)
    if left:
        raise reasons.NOT_SPELLED_OUT(names=", ".join(left[:_MAX_NAMED]))
    if not forms:
        return {"forms": forms, "warnings": []}
    graph.drop_unused_constants()
    _write(model, source["dir"], after)
    found = find_difference(before, after, source["facts"]["inputs"], job["threads"])
    if not found:
        return {"forms": forms, "warnings": []}
    if not set(forms) <= HARMLESS:
        raise reasons.NO_OTHER_FORM(names=", ".join(forms), said=found)
    shutil.rmtree(job["output_dir"])
    os.mkdir(job["output_dir"])
    return {"forms": {}, "warnings": ["not prepared for OpenVINO, the model would answer something else: " + found]}


def folder_of(job):
    """The folder of the model that OpenVINO is given."""
    own = job["inputs"]["prepare"]["dir"]
    return own if os.path.exists(os.path.join(own, MODEL)) else job["inputs"]["optimize"]["dir"]


def _write(model, source, target):
    folder = os.path.dirname(target)
    for location in {external_entries(tensor)["location"] for _, tensor in walk_tensors(model) if is_external(tensor)}:
        path = os.path.join(folder, location)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.link(os.path.join(source, location), path)
    with open(target, "wb") as file:
        file.write(model.SerializeToString())
