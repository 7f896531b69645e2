"""The operators that a model uses, and whether ONNX or ONNX Runtime defines them."""
from collections import Counter
from functools import lru_cache

from shared.rules import models as rules
from worker.stages.onnx_model import walk_nodes


def check_versions(model):
    """`{domain: opset version}`, the standard domain under "ai.onnx".

    Raises:
        StageError: `opset_unsupported`, `model_invalid` (no opset at all).
    """
    import onnx

    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    rules.check_versions(model.ir_version, opsets, onnx.IR_VERSION, onnx.defs.onnx_opset_version())
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
        standard = "" if domain in rules.STANDARD else domain
        version = opsets.get(domain or "ai.onnx", 1)
        if onnx.defs.has(name, version, standard) and is_usable(onnx.defs.get_schema(name, version, standard)):
            continue
        (extra if standard and (domain, name) in _runtime_operators() else unknown).append(rules.shown(domain, name))
    if unknown:
        raise rules.unknown_operators(unknown, opsets)
    warnings = [rules.beyond_standard(extra).en] if extra else []
    return {rules.shown(*operator): count for operator, count in sorted(used.items())}, warnings


def is_usable(schema):
    """Whether ONNX Runtime runs the operator. A deprecated one is gone, unless ONNX spells it out in others
    (GroupNormalization of opset 18)."""
    return not schema.deprecated or is_spelled_out(schema)


def is_spelled_out(schema):
    """Whether ONNX defines the operator by others."""
    return schema.has_function or schema.has_context_dependent_function


def find_deprecated(model, opsets):
    """Those of the model's operators that are deprecated and usable, sorted; onnx's checker refuses them."""
    import onnx

    used = {node.op_type for node in walk_nodes(model) if node.domain in rules.STANDARD}
    version = opsets.get("ai.onnx", 1)
    return sorted(name for name in used if onnx.defs.has(name, version, "")
                  and onnx.defs.get_schema(name, version, "").deprecated)


@lru_cache(maxsize=1)
def _runtime_operators():
    """`{(domain, operator)}` that ONNX Runtime defines beyond the standard (com.microsoft and the like)."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    return {(schema.domain, schema.name) for schema in get_all_operator_schema() if schema.domain not in rules.STANDARD}
