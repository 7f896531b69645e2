"""The operators that the locked onnx and onnxruntime define, as the pre-flight keeps them."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx.version_converter
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from infra.operators.cases import collect_own
from infra.operators.kernels import missing_kernels
from shared.platforms import get_platforms
from worker.stages.operators import is_spelled_out, is_usable

_CONTROL_FLOW = ("If", "Loop", "Scan")  # what is inside decides


def standard_operators() -> dict[str, dict[str, list[int]]]:
    """`{domain: {operator: versions}}`: from each version on it is defined, or, where negative, gone. "" is the
    standard domain. A deprecated operator that ONNX itself spells out in others is defined still."""
    found: dict[str, dict[str, list[int]]] = {}
    for schema in sorted(onnx.defs.get_all_schemas_with_history(), key=lambda schema: schema.since_version):
        versions = found.setdefault(schema.domain, {}).setdefault(schema.name, [])
        version = schema.since_version if is_usable(schema) else -schema.since_version
        if not versions or (versions[-1] < 0) != (version < 0):
            versions.append(version)
    return {domain: dict(sorted(names.items())) for domain, names in sorted(found.items())}


def runtime_operators() -> dict[str, list[str]]:
    """`{domain: operators}` that ONNX Runtime defines beyond the standard domain."""
    found: dict[str, set[str]] = {}
    for schema in get_all_operator_schema():
        if schema.domain not in ("", "ai.onnx"):
            found.setdefault(schema.domain, set()).add(schema.name)
    return {domain: sorted(names) for domain, names in sorted(found.items())}


def no_way_down(newest: int) -> dict[str, int]:
    """`{operator: version}`: from that version of the standard domain on no model of the operator can be written in the
    opset `newest`: not by onnx's version converter, not as it is under the older number, and not spelled out in other
    operators as ONNX defines it."""
    found = {}
    for schema in sorted(onnx.defs.get_all_schemas(), key=lambda schema: schema.name):
        if schema.name in _CONTROL_FLOW:
            continue
        versions = sorted({entry.since_version for entry in onnx.defs.get_all_schemas_with_history()
                           if entry.name == schema.name and not entry.domain and entry.since_version > newest})
        models = collect_own().get(schema.name, [])
        for version in versions if not schema.domain else ():
            if models and not any(_goes_down(model, version, newest) for model in models):
                found[schema.name] = version
                break
    return found


def _goes_down(model: onnx.ModelProto, version: int, newest: int) -> bool:
    schema = onnx.defs.get_schema(model.graph.node[0].op_type, version)
    if is_spelled_out(schema):
        return True
    return any(_is_right(way, model, number) for way, number in (
        (lambda made: onnx.version_converter.convert_version(made, newest), version), (lambda made: made, newest)))


def _is_right(way: Callable[[onnx.ModelProto], onnx.ModelProto], model: onnx.ModelProto, number: int) -> bool:
    made = onnx.ModelProto.FromString(model.SerializeToString())
    made.opset_import[0].version = number
    try:
        onnx.checker.check_model(way(made))
    except Exception:  # the converter's C++ errors share no base class
        return False
    return True


def table() -> dict[str, Any]:
    newest = sorted({platform.newest_opset for platform in get_platforms().values() if platform.newest_opset})
    return {"standard": standard_operators(), "runtime": runtime_operators(),
            "no_kernel": missing_kernels(),
            "no_way_down": {str(opset): no_way_down(opset) for opset in newest}}
