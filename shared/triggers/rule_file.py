"""Reads the rules' file: TOML, `MODEL_CONVERT_TRIGGERS`."""
from __future__ import annotations

from functools import lru_cache

from shared.triggers.rules import Rule, built_in


@lru_cache(maxsize=1)
def get_rules() -> tuple[Rule, ...]:
    return (built_in(),)
