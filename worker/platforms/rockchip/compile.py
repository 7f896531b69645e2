"""Stage: `.rknn` from the static ONNX model, judged by what the file and the log show, not by what the calls answer."""
import os

from worker.platforms.rockchip import arguments, reasons
from worker.platforms.rockchip.artefact import read_description
from worker.platforms.rockchip.convert import ARTEFACT, convert
from worker.platforms.rockchip.prepare import folder_of
from worker.platforms.rockchip.told import read_precision, with_types
from worker.platforms.rockchip.tool_log import ToolLog
from worker.stage_api import log
from worker.stages.apart import run_apart
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
# What it crashes on, where it is quantised.
_RECURRENT = ("LSTM", "GRU", "RNN")


def run(job):
    """Writes model.rknn. Facts: see docs/new-target.md; also `figures` of what the simulator answers, and in `details`
    the error of each layer where error_analysis is asked for.

    Raises:
        StageError: `unsupported_operator`, `compile_failed`, and those of `convert`.
    """
    with following(PHASES):
        outcome, told, disabled = _convert(job)
    unsupported = told.unsupported()
    if unsupported:
        raise _unsupported(unsupported)
    if outcome.error:
        raise outcome.error
    if outcome.failure:
        if "bad_alloc" in told.last_words():
            raise MemoryError(told.last_words())
        raise _explain(outcome.failure, told, job)
    failures = told.failures()
    if failures:
        raise _incomplete(failures, job)
    described = with_types(_read_back(job), told.edges())
    placement, on_cpu = told.placement()
    layers = told.data_types()
    value = outcome.value
    return dict(value, precision=read_precision(layers, told.stored_types()), placement=placement,
                on_cpu=on_cpu[:_MAX_ON_CPU], memory=told.memory(),
                warnings=disabled + value["warnings"] + told.warnings(),
                details=dict(value["details"], layer_types=layers), inputs=described["inputs"],
                outputs=described["outputs"])


def _convert(job):
    """`(outcome, log, warnings)`. Where the toolkit fails in a rule of its own optimiser, and names disable_rules as
    the remedy, that is tried, once."""
    outcome, told = run_apart(lambda: convert(job)), ToolLog.read(LOG)
    named = told.rules_to_disable() if outcome.failure else []
    asked = job["parameters"]["disable_rules"] or [] if named else []
    rules = [rule for rule in named if rule not in asked]
    if not rules:
        return outcome, told, []
    log(f"rknn-toolkit2 names disable_rules as the remedy, which is tried: {', '.join(rules)}")
    begin = os.path.getsize(LOG)
    again = dict(job, parameters=dict(job["parameters"], disable_rules=[*asked, *rules]))
    outcome = run_apart(lambda: convert(again))
    return outcome, ToolLog.read(LOG, begin), [reasons.RULES_DISABLED(names=", ".join(rules)).en]


def _read_back(job):
    """What the artefact says of itself; that the toolkit answered 0 is no proof."""
    try:
        return read_description(os.path.join(job["output_dir"], ARTEFACT))
    except (OSError, ValueError, KeyError) as error:
        raise reasons.NO_WHOLE_FILE(said=said_by(error, job)) from error


def _incomplete(failures, job):
    """The tool reported success, and said on the way that a piece failed: the artefact lacks it."""
    said = tidy("; ".join(failures[:3]), job)
    whole = [f"{entry['name']} ({entry['dtype']})" for entry in job["inputs"]["optimize"]["facts"]["inputs"]
             if not entry["dtype"].startswith(("float", "double"))]
    if whole and arguments.is_quantized(job["parameters"]):
        return reasons.INTEGERS_NOT_QUANTIZED(said=said, inputs=", ".join(whole))
    return reasons.PIECE_FAILED(said=said)


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
    recurrent = [] if said else _operators(job, _RECURRENT)
    if recurrent:
        return reasons.RECURRENT(end=failure, names=", ".join(recurrent), said=tidy(told.last_warning(), job) or "-")
    return reasons.FAILED(end=failure, said=tidy(said, job)) if said else reasons.FAILED_SILENTLY(end=failure)


def _suspects(job):
    """Operators that the toolkit is known to stumble over, as the model names them."""
    return sorted({f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
                   for node in _nodes(job)
                   if node.op_type in _CONTROL_FLOW or node.domain not in ("", "ai.onnx")})


def _operators(job, kinds):
    """Those of the kinds that the model has, each with the names of its nodes' first outputs."""
    return sorted({f"{node.op_type} {node.output[0]}" for node in _nodes(job) if node.op_type in kinds})[:_MAX_NAMED]


def _nodes(job):
    import onnx

    return onnx.load(os.path.join(folder_of(job), "model.onnx"), load_external_data=False).graph.node
