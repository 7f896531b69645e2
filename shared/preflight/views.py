"""What POST /tasks/validate answers."""
from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.rules.error_codes import CODES, PREFLIGHT, describe
from shared.schema import Model
from shared.texts import Text


class Finding(Model):
    """A problem or a warning. `code`, `message` and `hint` are those that the task would fail with."""

    code: str = Field(description=describe(
        {code: row for code, row in CODES.items() if PREFLIGHT in row.raised_by}))
    message: Text
    hint: Text = Field(Text("", ""), json_schema_extra={"default": ""})  # the schema shows what JSON holds
    field: str = Field(description="of the request; what to change")


class TargetVerdict(Model):
    platform: str
    task_type: str
    valid: bool = Field(description="no problem was found")
    problems: list[Finding]
    warnings: list[Finding]


class ModelView(Model):
    """What the model's header tells. An open dimension is its symbol, or null."""

    size_bytes: int
    ir_version: int
    opsets: dict[str, int]
    producer: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    operators: dict[str, int] = Field(description="how often each is used")
    nodes: int


class Validation(Model):
    valid: bool = Field(description="for every target")
    targets: list[TargetVerdict]
    model: ModelView | None = Field(description="null where there is none, or none that can be read")
