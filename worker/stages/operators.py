"""Which operators a model uses, and whether anybody knows them."""
from collections import Counter
from functools import lru_cache

from worker.stage_api import StageError
from worker.stages.onnx_model import STANDARD, shown, walk_nodes


def check_versions(model):
    """`{domain: opset version}`, the standard domain under "ai.onnx".

    Raises:
        StageError: `opset_unsupported`, `model_invalid` (no opset at all).
    """
    import onnx

    newest = onnx.defs.onnx_opset_version()
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    hint = f"export the model again with an opset of at most {newest}; 17 is understood everywhere"
    if model.ir_version > onnx.IR_VERSION:
        raise StageError("opset_unsupported", f"the model's IR version is {model.ir_version}; "
                                              f"this service reads up to {onnx.IR_VERSION}", hint)
    if opsets.get("ai.onnx", 1) > newest:
        raise StageError("opset_unsupported", f"the model's opset is {opsets['ai.onnx']}; "
                                              f"this service reads up to {newest}", hint)
    if not opsets:
        raise StageError("model_invalid", "the model names no opset: its end is missing, or its exporter is at fault",
                         "compare the file with the original, or export it again")
    return opsets


def check_operators(model, opsets):
    """`({operator: how often}, warnings)`.

    Raises:
        StageError: `unsupported_operator`, naming all that neither ONNX nor ONNX Runtime nor the model itself defines.
    """
    import onnx

    functions = {(function.domain, function.name) for function in model.functions}
    used = Counter((node.domain, node.op_type) for node in walk_nodes(model))
    unknown, extra = [], []
    for domain, name in sorted(used):
        if (domain, name) in functions:
            continue
        standard = "" if domain in STANDARD else domain
        version = opsets.get(domain or "ai.onnx", 1)
        if onnx.defs.has(name, version, standard) and not onnx.defs.get_schema(name, version, standard).deprecated:
            continue
        (extra if standard and (domain, name) in _runtime_operators() else unknown).append(shown(domain, name))
    if unknown:
        raise StageError("unsupported_operator",
                         f"no known operators in opset {opsets.get('ai.onnx', 1)}: {', '.join(unknown)}",
                         "replace them by standard ONNX operators, or export with an opset that has them")
    warnings = ["outside the ONNX standard, so it depends on the target: " + ", ".join(extra)] if extra else []
    return {shown(*operator): count for operator, count in sorted(used.items())}, warnings


@lru_cache(maxsize=1)
def _runtime_operators():
    """`{(domain, operator)}` that ONNX Runtime defines beyond the standard (com.microsoft and the like)."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    return {(schema.domain, schema.name) for schema in get_all_operator_schema() if schema.domain not in STANDARD}
