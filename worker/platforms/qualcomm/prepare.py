"""Stage: the model prepared for quantizer and compiler: its preprocessing in it, operators folded, a name for each.

What it changes is run beside the model before it. If it answers something else, the preprocessing alone goes in.
"""
import os

from shared.rules.models import MODEL
from worker.platforms.qualcomm import reasons
from worker.platforms.qualcomm.edges import mend_edges
from worker.platforms.qualcomm.folding import fold_affine
from worker.platforms.qualcomm.forms import change_forms
from worker.platforms.qualcomm.hard_swish import fuse_hard_swish
from worker.platforms.qualcomm.pooling import spell_out_pools
from worker.platforms.qualcomm.saving import save
from worker.stage_api import log
from worker.stages import preprocess
from worker.stages.einsum import spell_out_einsum
from worker.stages.graph import Graph
from worker.stages.graph_edits import check_computes
from worker.stages.infinities import bound_masks
from worker.stages.onnx_model import walk_nodes
from worker.stages.proof import find_difference
from worker.stages.samples import numpy_dtype

# To the NPU an infinity is one.
_NO_SUCH_VALUES = ("IsNaN",)
_OPSET = 17  # has all that quantizing needs, but for activations of 16 bits


def run(job):
    """Writes model.onnx (with model.onnx.data beside it for large weights).

    Facts: `opset`, how many operators are gone: `folded`, `hard_swish` (groups); how many others
    have got another form: `forms`; warnings.

    Raises:
        StageError: `preprocessing_mismatch`; `unsupported_operator`: no output depends on an input, or an operator asks
            for what the NPU's numbers do not have.
    """
    source, parameters = job["inputs"]["optimize"], job["parameters"]
    before, after = os.path.join(source["dir"], MODEL), os.path.join(job["output_dir"], MODEL)
    inputs = source["facts"]["inputs"]
    facts = _prepare(before, after, parameters, inputs, passes=True)
    found = find_difference(before, after, inputs, job["threads"],
                            lambda entry, array: preprocess.to_model(parameters, entry, array))
    if not found:
        return dict(facts, warnings=[])
    for name in os.listdir(job["output_dir"]):
        os.remove(os.path.join(job["output_dir"], name))
    facts = _prepare(before, after, parameters, inputs, passes=False)
    return dict(facts, warnings=["not prepared for the compiler, the model would answer something else: " + found])


def _prepare(before, after, parameters, inputs, passes):
    """Write the model; the facts. Without `passes` its own operators stay as they are."""
    import onnx

    model = onnx.load(before)
    check_computes(model)
    strange = sorted({node.op_type for node in walk_nodes(model) if node.op_type in _NO_SUCH_VALUES})
    if strange:
        raise reasons.NO_SUCH_VALUES(names=", ".join(strange))
    products = spell_out_einsum(model) if passes else 0
    graph = Graph(raise_opset(model, _OPSET) if passes else model)
    for entry in inputs:
        _put_in_preprocessing(graph, parameters, entry)
    passed = (fold_affine, fuse_hard_swish, change_forms, spell_out_pools)
    folded, hard_swish, forms, pools = (change(graph) if passes else 0 for change in passed)
    if passes and parameters["precision"] == "fp16":  # a scale of integers has no room for what these compute inside
        forms += mend_edges(graph) + bound_masks(graph)
    facts = {"opset": graph.opset(), "folded": folded, "hard_swish": hard_swish, "forms": products + forms + pools}
    graph.drop_unused_constants()
    graph.name_nodes()
    save(graph.model, after)
    return facts


def raise_opset(model, wanted):
    """The model in the opset that is wanted, or as it is where it cannot be converted."""
    from onnx import version_converter

    if Graph(model).opset() >= wanted:
        return model
    try:
        return version_converter.convert_version(model, wanted)
    except Exception as error:  # its C++ errors share no base class; most models do as they are
        log(f"the model stays in its opset: {error}")
        return model


def _put_in_preprocessing(graph, parameters, entry):
    """`(x - mean) / std` between an input and whatever reads it."""
    import numpy as np

    found = preprocess.constants(parameters, entry)
    if found is None:
        return
    dtype = numpy_dtype(entry["dtype"])
    shape = [1] * len(entry["shape"])
    shape[preprocess.channel_axis(entry["shape"])] = -1
    mean, std = (np.asarray(values, np.float64).reshape(shape) for values in found)
    shifted, scaled = graph.unique(entry["name"] + "_minus_mean"), graph.unique(entry["name"] + "_normalised")
    graph.redirect_readers(entry["name"], scaled)
    graph.insert(0, "Sub", [entry["name"], graph.constant(entry["name"] + "_mean", mean.astype(dtype))], shifted)
    # Not "_scale": the quantizer gives that name to what it adds itself, without looking.
    graph.insert(1, "Mul", [shifted, graph.constant(entry["name"] + "_by_std", (1 / std).astype(dtype))], scaled)
