"""The operators that the locked onnx and onnxruntime define, as the pre-flight keeps them."""
from __future__ import annotations

from typing import Any

import onnx
from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

from worker.stages.operators import is_usable


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


def table() -> dict[str, Any]:
    return {"standard": standard_operators(), "runtime": runtime_operators()}
