"""Which operators ONNX defines, and which ONNX Runtime beyond it; made by `python -m infra.operators`."""
from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from shared.rules.models import STANDARD


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("onnx_operators.json").read_text(encoding="utf-8"))


def is_standard(domain: str, name: str, opsets: Mapping[str, int]) -> bool:
    """Whether ONNX has the operator in the version of its domain that the model imports."""
    version = opsets.get(domain or "ai.onnx", 1)
    versions = _table()["standard"].get("" if domain in STANDARD else domain, {}).get(name, ())
    reached = [since for since in versions if abs(since) <= version]  # negative: deprecated from there on
    return bool(reached) and reached[-1] > 0


def stays_up(name: str, opset: int, newest: int) -> bool:
    """Whether no model of `opset` with this standard operator can be converted down to the opset `newest`."""
    since = _table()["no_way_down"].get(str(newest), {}).get(name)
    return since is not None and opset >= since > newest


def has_no_kernel(name: str, opset: int) -> bool:
    """Whether the locked ONNX Runtime cannot run the standard operator of a model of that opset, whatever its type."""
    return any(first <= opset and (last is None or opset <= last)
               for first, last in _table()["no_kernel"]["opsets"].get(name, ()))


def runs_in_double(name: str) -> bool:
    return name not in _table()["no_kernel"]["double"]


def is_runtimes_own(domain: str, name: str) -> bool:
    return domain not in STANDARD and name in _table()["runtime"].get(domain, ())
