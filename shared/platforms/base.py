"""What a target declares: its task types, its parameters, its limits."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from shared.models import StrictModel
from shared.platforms.shapes import parse_input_shape


@dataclass(frozen=True)
class Platform:
    """A target as the HTTP side sees it; `worker/platforms/<name>` is its other half.

    `artefact_suffix` ends the name of the artefact's first file (`.xml`), `also` are the suffixes of the files that
    belong to it and lie beside it under the same stem. `example` are parameters as a first user would send them.
    """

    name: str
    title: str
    task_types: tuple[str, ...]
    parameters: type[CommonParameters]
    artefact_suffix: str
    example: dict[str, Any]
    also: tuple[str, ...] = ()
    input_suffixes: tuple[str, ...] = (".onnx",)


class Verify(StrictModel):
    """The accuracy gate: the artefact's outputs against ONNX Runtime's for the same inputs."""

    enabled: bool = True
    samples: int = Field(3, ge=1, le=64, description="seeded random inputs; edge inputs (zeros, ones) come on top")
    min_cosine: float | None = Field(None, ge=-1, le=1, description="per output; default by precision")


class Limits(StrictModel):
    """For each stage. Smaller than the server's own limits only."""

    stage_time_s: float = Field(3600.0, gt=0, le=86400)
    stage_memory_bytes: int = Field(8 << 30, ge=256 << 20, le=1 << 40)


def _shape(value: Any) -> Any:
    parse_input_shape(value)
    return value


InputShape = Annotated[
    str | list[int] | dict[str, list[int]], AfterValidator(_shape),
    Field(description='"1,3,640,640", "images:1,3,640,640" (several separated by ;) or a list',
          examples=["1,3,640,640", "images:1,3,640,640", [1, 3, 640, 640]])]


class CommonParameters(StrictModel):
    """Parameters that have the same name and spelling for every target that has them."""

    precision: Literal["fp32", "fp16"] = "fp16"
    input_shape: InputShape | None = None
    auto_input_shape: bool = Field(True, description="take from the model what input_shape leaves open")
    verify: Verify = Verify()
    accept_accuracy: bool = Field(False, description="complete although the accuracy gate failed; recorded")
    limits: Limits = Limits()
