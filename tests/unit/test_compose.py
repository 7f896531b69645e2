"""The settings that infra/compose.yaml hands over are there, and its defaults are right ones."""
from __future__ import annotations

import re
from pathlib import Path

from shared.settings import PREFIX, Settings, read_settings

COMPOSE = (Path(__file__).resolve().parents[2] / "infra" / "compose.yaml").read_text()
GIVEN = dict(re.findall(rf"^ +({PREFIX}\w+): (\S+)", COMPOSE, re.MULTILINE))
VARIABLE = re.compile(r"\$\{\w+(?::-([^}]*))?\}")


def test_each_setting_is_one_and_its_default_can_be_read() -> None:
    assert len(GIVEN) > 10 and {name.removeprefix(PREFIX).lower() for name in GIVEN} <= Settings.model_fields.keys()
    read_settings({name: VARIABLE.sub(lambda found: found[1] or "", value) for name, value in GIVEN.items()})


def test_every_limit_is_handed_over() -> None:
    """One that were not would be set in vain."""
    limits = {name for name in Settings.model_fields if name.startswith("limit_")}
    assert limits and {f"{PREFIX}{name.upper()}" for name in limits} <= GIVEN.keys()
