"""Stage: an EPContext model and its context binary, judged by what they show: a session that opens proves nothing."""
import json
import os
import shutil
from collections import Counter

from shared.rules.models import MODEL
from shared.rules.refusal import Unusable
from worker.platforms.qualcomm import reasons
from worker.platforms.qualcomm.artefact import Artefact
from worker.platforms.qualcomm.chips import CHIPS
from worker.platforms.qualcomm.explain import NO_CONTEXT, explain
from worker.platforms.qualcomm.told import read_precision
from worker.stages.apart import run_apart
from worker.stages.messages import raise_if_out_of_memory, said_by, tidy

CONTEXT, BINARY = "model_ctx.onnx", "model_ctx_qnn.bin"  # the compiler derives the second name from the first
LOG = "log.txt"
_TRACE = "qnn_op_trace.json"
_MAX_ON_CPU = 200


def run(job):
    """Writes model_ctx.onnx and model_ctx_qnn.bin. Facts: see docs/new-target.md; `details`: the chip's numbers, how
    many graphs the NPU gets, and what `quantize` tells there.

    Raises:
        StageError: `unsupported_operator`, `dynamic_shape`, `compile_failed`.
    """
    parameters = job["parameters"]
    source = job["inputs"].get("quantize") or job["inputs"]["prepare"]
    _bring(source["dir"])
    outcome = run_apart(lambda: _compile(job))
    if outcome.failure:
        raise reasons.NOT_SURVIVED(end=outcome.failure)
    if "error" in outcome.value:
        raise explain(outcome.value["error"], _read_log(), MODEL)
    # With a chip that it does not know, or no operator that it takes, the compiler succeeds and writes nothing.
    if not os.path.exists(CONTEXT):
        raise explain(NO_CONTEXT, _read_log(), MODEL)
    artefact = _read_back(job)
    for name in (CONTEXT, BINARY):
        os.replace(name, os.path.join(job["output_dir"], name))
    graphs = _read_trace()
    on_cpu = [{"name": node.name, "type": node.op_type} for node in artefact.on_cpu]
    soc_model, htp_arch = CHIPS[parameters["chip"]]
    return {
        "precision": read_precision(MODEL, graphs), **artefact.values(),
        "placement": {"npu": _on_npu(graphs), "cpu": dict(Counter(node["type"] for node in on_cpu))},
        "on_cpu": on_cpu[:_MAX_ON_CPU],
        "warnings": _warnings(on_cpu, artefact),
        "details": {**source["facts"].get("details", {}), "chip": parameters["chip"], "soc_model": soc_model,
                    "htp_arch": f"V{htp_arch}", "npu_graphs": len(artefact.contexts)},
        "commands": outcome.value["commands"],
    }


def _compile(job):
    """`{"commands"}`, or `{"error"}`: what the compiler raised."""
    from worker.platforms.qualcomm.toolkit import open_session

    parameters = job["parameters"]
    try:
        _, commands = open_session(
            parameters["chip"], parameters["allow_cpu"], MODEL, job["threads"], _provider_options(parameters),
            {"ep.context_enable": 1, "ep.context_file_path": CONTEXT, "ep.context_embed_mode": 0})
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise_if_out_of_memory(error)
        return {"error": tidy(error, job)}
    return {"commands": commands}


def _bring(folder):
    """Put the model into the working directory: its path enters the names of the graphs, and so the artefact."""
    for name in os.listdir(folder):
        try:
            os.link(os.path.join(folder, name), name)
        except OSError:  # another file system
            shutil.copyfile(os.path.join(folder, name), name)


def _provider_options(parameters):
    options = {"htp_graph_finalization_optimization_mode": parameters["htp_graph_finalization_optimization_mode"],
               "offload_graph_io_quantization": int(parameters["offload_graph_io_quantization"]),
               "enable_framework_op_trace": 1, "framework_op_trace_dir": "."}
    if parameters["vtcm_mb"] is not None:
        options["vtcm_mb"] = parameters["vtcm_mb"]
    return options


def _read_log():
    with open(LOG, encoding="utf-8", errors="replace") as file:
        return file.read()


def _read_back(job):
    """The artefact on disk."""
    try:
        artefact = Artefact(CONTEXT)
        artefact.check()
        told, wanted = artefact.soc_model(), CHIPS[job["parameters"]["chip"]][0]
        if told != wanted:
            raise Unusable(reasons.OTHER_CHIP(told=told, wanted=wanted))
    except (OSError, ValueError) as error:
        raise reasons.NO_WHOLE_CONTEXT(said=said_by(error, job)) from error
    return artefact


def _read_trace():
    """The compiler's own trace: for each graph of the NPU which of the model's nodes became which of its operators."""
    with open(_TRACE, encoding="utf-8") as file:
        return json.load(file)["subgraph_traces"]


def _on_npu(graphs):
    """`{QNN operator: count}`."""
    return dict(sorted(Counter(mapping["dst_qnn_op_type"] for graph in graphs
                               for mapping in graph["op_mappings"]).items()))


def _warnings(on_cpu, artefact):
    if not on_cpu:
        return []
    return [f"operators that stay on the CPU: {len(on_cpu)}; graphs that the NPU runs: {len(artefact.contexts)}"]
