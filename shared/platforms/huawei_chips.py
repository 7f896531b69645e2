"""Huawei's chips, as `--soc_version` names them.

Source: ATC user guide, "--soc_version": `Ascend` and the Name that `npu-smi info` shows; for Atlas A3 and Ascend 950
Chip Name, an underscore and NPU Name. The guide gives families (`Ascend310P*`); the names below are those that CANN's
platform_config folder lists, and a later chip of a known family is accepted by its form.
"""
from __future__ import annotations

import difflib
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from shared.schema import wrong

KNOWN = (
    "Ascend310", "Ascend310B1", "Ascend310B2", "Ascend310B3", "Ascend310B4", "Ascend310P1", "Ascend310P2",
    "Ascend310P3", "Ascend310P4", "Ascend310P5", "Ascend310P7", "Ascend610", "Ascend910", "Ascend910A", "Ascend910B",
    "Ascend910ProA", "Ascend910ProB", "Ascend910PremiumA", "Ascend910B1", "Ascend910B2", "Ascend910B2C", "Ascend910B3",
    "Ascend910B4", "Ascend910B4-1", "Ascend910_9362", "Ascend910_9372", "Ascend910_9381", "Ascend910_9382",
    "Ascend910_9391", "Ascend910_9392",
)
FORM = (r"^Ascend(310([BP][0-9])?|610|910(A|B|ProA|ProB|PremiumA|B[0-9](C|-[0-9])?)?|910_[0-9]{4}"
        r"|950(PR|DT)_[0-9A-Z]{4})$")
# Atlas A2, Atlas A3, Atlas 200I/500 A2, Ascend 950. `Ascend910B` without a digit is the Atlas training series.
_BFLOAT16 = "^Ascend(910B[0-9]|910_|310B|950)"
_HIFLOAT8 = "^Ascend950"
_SHAPE_RANGES = "^Ascend(310P?[0-9]*|[69].*)$"


def _check(name: str) -> str:
    if re.fullmatch(FORM, name):
        return name
    near = difflib.get_close_matches(f"Ascend{name.strip().lower().removeprefix('ascend').upper()}", KNOWN, 1, 0.7)
    zh, en = (f", 是否为 {near[0]}", f"; did you mean {near[0]}") if near else ("", "")
    raise wrong(f"不是昇腾芯片名{zh}; 应为 npu-smi info 所示名称并加前缀 Ascend, 例如 Ascend310P3, Ascend910B3",
                f"is no Ascend chip{en}; it is Ascend and the name that npu-smi info shows, as in Ascend310P3, "
                "Ascend910B3")


SocVersion = Annotated[str, Field(max_length=40, examples=["Ascend310P3", "Ascend910B3"],
                                  json_schema_extra={"pattern": FORM}), AfterValidator(_check)]


def has_bfloat16(soc_version: str) -> bool:
    """Source: ATC user guide, "--precision_mode_v2", constraints on values."""
    return bool(re.match(_BFLOAT16, soc_version))


def has_hifloat8(soc_version: str) -> bool:
    """Source: as `has_bfloat16`."""
    return bool(re.match(_HIFLOAT8, soc_version))


def takes_shape_ranges(soc_version: str) -> bool:
    """Source: ATC user guide, "--input_shape": Atlas 200I/500 A2 takes no ranges."""
    return bool(re.match(_SHAPE_RANGES, soc_version))


def max_gears(soc_version: str) -> int:
    """Source: ATC user guide, "--dynamic_dims": 2 to 100, on Ascend 950 to 256."""
    return 256 if soc_version.startswith("Ascend950") else 100
