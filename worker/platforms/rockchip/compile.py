"""Stage: `.rknn` from the static ONNX model, judged by what the file and the log show, not by what the calls answer."""
import os

from worker.platforms.rockchip import reasons
from worker.platforms.rockchip.artefact import read_description
from worker.platforms.rockchip.convert import ARTEFACT, convert
from worker.platforms.rockchip.isolate import run_apart
from worker.platforms.rockchip.prepare import folder_of
from worker.platforms.rockchip.tool_log import ToolLog
from worker.stages.messages import said_by, tidy
from worker.stages.phases import following

LOG = "log.txt"
# Share of the stage's time that has gone by when the toolkit prints it; measured with PP-OCRv4's detector.
PHASES = [(r"base_optimize \.\.\.", 0.06), (r"fold_constant \.\.\.", 0.08), (r"correct_ops \.\.\.", 0.15),
          (r"fuse_ops \.\.\.", 0.2), (r"Quantizating", 0.36), (r"rknn building \.\.\.", 0.6),
          (r"rknn building done", 0.75), (r"SessionPreparing", 0.8)]
_MAX_ON_CPU = 200
_MAX_NAMED = 10
# What the toolkit fails on without saying so.
_CONTROL_FLOW = ("If", "Loop", "Scan")


def run(job):
    """Writes model.rknn. Facts: see docs/new-target.md; also `figures` of what the simulator answers, and in `details`
    the error of each layer where error_analysis is asked for.

    Raises:
        StageError: `unsupported_operator`, `compile_failed`, and those of `convert`.
    """
    with following(PHASES):
        outcome = run_apart(lambda: convert(job))
    told = ToolLog.read(LOG)
    unsupported = told.unsupported()
    if unsupported:
        raise _unsupported(unsupported)
    if outcome.error:
        raise outcome.error
    if outcome.failure:
        if "bad_alloc" in told.last_words():
            raise MemoryError(told.last_words())
        raise _explain(outcome.failure, told, job)
    described = _read_back(job)
    placement, on_cpu = told.placement()
    return dict(outcome.value, precision=job["parameters"]["precision"], placement=placement,
                on_cpu=on_cpu[:_MAX_ON_CPU], memory=told.memory(), warnings=told.warnings(),
                inputs=described["inputs"], outputs=described["outputs"])


def _read_back(job):
    """What the artefact says of itself; that the toolkit answered 0 is no proof."""
    try:
        described = read_description(os.path.join(job["output_dir"], ARTEFACT))
    except (OSError, ValueError, KeyError) as error:
        raise reasons.NO_WHOLE_FILE(said=said_by(error, job)) from error
    for entry in described["inputs"] + described["outputs"]:
        entry["dtype"] = entry["dtype"] or job["parameters"]["float_dtype"]
    return described


def _unsupported(operators):
    kinds = sorted({entry["type"] for entry in operators})
    named = ", ".join(f"{entry['type']} {entry['name']}".strip() for entry in operators[:_MAX_NAMED])
    return reasons.NOT_TAKEN(kinds=", ".join(kinds), names=named)


def _explain(failure, told, job):
    missing = told.missing_tensors()
    if missing:
        return reasons.NO_TENSOR_IN_GRAPH(names=", ".join(missing))
    said = "; ".join(told.errors()[:3]) or told.last_words()
    suspects = [] if said else _suspects(job)
    if suspects:
        return reasons.SUSPECTED(end=failure, names=", ".join(suspects))
    return reasons.FAILED(end=failure, said=tidy(said, job)) if said else reasons.FAILED_SILENTLY(end=failure)


def _suspects(job):
    """Operators that the toolkit is known to stumble over, as the model names them."""
    import onnx

    model = onnx.load(os.path.join(folder_of(job), "model.onnx"), load_external_data=False)
    return sorted({f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
                   for node in model.graph.node
                   if node.op_type in _CONTROL_FLOW or node.domain not in ("", "ai.onnx")})
