"""What a target declares: its task types, its parameters, its limits."""
from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.platforms.candidates import AUTO, AUTO_TIME_S, Candidate, choose, explain_none
from shared.platforms.conditions import LIST, NULL, TEXT, Schema, having, none_of, one_of, tell_conditions, when
from shared.platforms.fixed import FixedInputs
from shared.platforms.shapes import InputShape
from shared.schema import NO_NUL, PlaceText, StrictModel, wrong


@dataclass(frozen=True)
class Operators:
    """ONNX operators that a target's compiler is known to take or to refuse, as `Conv` or `com.microsoft.Gelu`; on
    others there is no verdict. `source` is how that was found, `certain_for` the values of parameters that it was found
    with. With others, or where `fixed_inputs` or one of the parameters `unless` is sent (the compiler may then not meet
    all of the model), a refusal is no certainty. What a vendor has `published` is `known` as likely, and nothing of it
    was tried. Of a known operator the inputs `constant` (by their indices; where a form of it follows on a comma, in
    that form alone) are to be constants, and the first one (or the one that is named: `Attention, input 3`) is to be
    of none of its `types`.
    """

    source: str
    known: frozenset[str]
    refused: frozenset[str]
    certain_for: dict[str, list[str]]
    unless: tuple[str, ...]
    published: bool = False
    constant: Mapping[str, list[int]] = field(default_factory=dict)
    types: Mapping[str, list[str]] = field(default_factory=dict)
    forms: Mapping[str, list[str]] = field(default_factory=dict)

    def is_certain(self, parameters: dict[str, Any]) -> bool:
        return not any(parameters.get(name) for name in ("fixed_inputs", *self.unless)) and all(
            parameters.get(name) in values for name, values in self.certain_for.items())


@dataclass(frozen=True)
class Platform:
    """A target as the HTTP side sees it; `worker/platforms/<name>` is its other half.

    `artefact_suffix` ends the name of the artefact's first file (`.xml`), `also` are the suffixes of the files that
    belong to it and lie beside it under the same stem. `example` are parameters as a first user would send them. The
    API's examples show the `featured` one. A model of an opset above `newest_opset` is converted down to it.
    `input_dtypes` are the types of inputs that the tool takes, where it does not take all; `no_casts_of` those that it
    takes and does not cast to floating point, by precision; `scalar_inputs` is whether it takes any without dimensions,
    `constant_outputs` whether it takes a model of which no output depends on an input.
    `never_again` are the precisions that the tool does not make of a model that is quantized already.
    """

    name: str
    title: str
    task_types: tuple[str, ...]
    parameters: type[CommonParameters]
    artefact_suffix: str
    example: dict[str, Any]
    also: tuple[str, ...] = ()
    featured: bool = False
    newest_opset: int | None = None
    input_dtypes: tuple[str, ...] = ()
    no_casts_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scalar_inputs: bool = True
    constant_outputs: bool = True
    never_again: tuple[str, ...] = ()
    input_suffixes: tuple[str, ...] = (".onnx",)

    @cached_property
    def descriptions_zh(self) -> dict[str, str]:
        """The parameters' descriptions in Chinese, by the English ones: `NAME.zh.json` and `base.zh.json`."""
        here = Path(__file__)
        return {english: chinese for name in ("base", self.name)
                for english, chinese in json.loads(here.with_name(f"{name}.zh.json").read_text("utf-8")).items()}

    @cached_property
    def operators(self) -> Operators | None:
        """What `NAME.operators.json` beside the declaration holds, if it is there, with what `NAME.forms.json` knows
        better; read at the first use."""
        path = Path(__file__).with_name(f"{self.name}.operators.json")
        if not path.exists():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        corrections = path.with_name(f"{self.name}.forms.json")
        better = json.loads(corrections.read_text(encoding="utf-8")) if corrections.exists() else {}
        judged = {name: frozenset(better.get(name, ())) for name in ("known", "refused", "uncertain")}
        others = judged["known"] | judged["refused"] | judged["uncertain"]
        return Operators(found["source"], frozenset(found["known"]) - others | judged["known"],
                         frozenset(found["refused"]) - others | judged["refused"],
                         found["certain_for"], tuple(found["unless"]), found.get("published", False),
                         {**found.get("constant", {}), **better.get("constant", {})},
                         {**found.get("types", {}), **better.get("types", {})}, better.get("forms", {}))


class NamesObject:
    """Marks a parameter that is the path of an object or a prefix; it is checked like `input_path`."""


ObjectPath = Annotated[PlaceText, NamesObject()]


class Verify(StrictModel):
    """The accuracy gate: the artefact's outputs against ONNX Runtime's for the same inputs."""

    enabled: bool = Field(True, description="false delivers the artefact without having run it")
    samples: int = Field(3, ge=1, le=64, description="seeded random inputs; edge inputs (zeros, ones) come on "
                         "top, and for a quantized artefact as many samples of the calibration set")
    min_cosine: float | None = Field(None, ge=-1, le=1, description="per output; of one of whole numbers "
                                    "the least share that agrees; default by precision")
    inputs: ObjectPath | None = Field(
        None, description="the gate judges by these instead: a prefix or a .zip in a bucket, with .npy arrays or "
        "images of raw values, as for calibration; of a larger set as many as samples says, spread over it",
        examples=["models/test-inputs/"])


class Limits(StrictModel):
    """For each stage. Smaller than the server's own limits only."""

    stage_time_s: float = Field(3600.0, gt=0, le=86400, description="seconds; time spent paused does not count")
    stage_memory_bytes: int = Field(8 << 30, ge=256 << 20, le=1 << 40, description="of all the stage's processes")


TensorName = Annotated[str, Field(min_length=1, max_length=512, json_schema_extra=NO_NUL)]
Names = Annotated[list[TensorName], Field(min_length=1, max_length=64, json_schema_extra={"uniqueItems": True})]


class CommonParameters(StrictModel):
    """Parameters that have the same name and spelling for every target that has them."""

    model_config = ConfigDict(json_schema_extra=tell_conditions)

    precision: Literal["auto", "fp32", "fp16", "int8", "int16"] | None = "fp16"  # each target narrows it
    input_shape: InputShape | None = None
    auto_input_shape: bool = Field(True, description="take from the model what input_shape leaves open")
    fixed_inputs: FixedInputs | None = Field(
        None, description="{input: value}: the input becomes a constant, and what is unreachable then is gone. A "
        "single value fills the whole input", examples=[{"sr": 16000}, {"training": False}])
    inputs: Names | None = Field(None, description="convert only from these tensors on")
    outputs: Names | None = Field(None, description="convert only up to these tensors")
    # It is not stored unless it was sent: what was left out may be tried both ways.
    simplify: bool | None = Field(
        None, exclude_if=lambda value: value is None,
        description="false gives the compiler the operators as they were sent: constants are not computed before, and "
        "normalisations not fused. Left out: true, and where the tool or the accuracy check then fails, once more false"
    )
    verify: Verify = Verify()
    accept_accuracy: bool = Field(False, description="complete although the accuracy gate failed; recorded")
    limits: Limits = Limits()

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"inputs": LIST}, {"fixed_inputs": NULL})  # no schema says that both name nothing twice

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for name in ("inputs", "outputs"):
            tensors = getattr(self, name) or []
            if len(set(tensors)) != len(tensors):
                raise wrong(f"{name} 中有重复的名称", f"{name} names a tensor twice")
        if both := sorted({*(self.inputs or ())} & {*(self.fixed_inputs or ())}):
            raise wrong(f"inputs 与 fixed_inputs 都指明了 {both[0]}", f"inputs and fixed_inputs both name {both[0]}")
        return self


class Automatic(CommonParameters):
    """For targets with a `precision: "auto"`.

    `candidates` is what it tries, from the fastest to the most exact. `only_quantized` are the parameters that go back
    to their defaults in a candidate that is not quantized.
    """

    candidates: ClassVar[tuple[Candidate, ...]] = ()
    only_quantized: ClassVar[tuple[str, ...]] = ()

    # It is not stored unless precision is auto: the version before this one does not know it.
    auto_time_s: float | None = Field(
        None, gt=0, le=86400, exclude_if=lambda value: value is None,
        description=f"precision auto: for how many seconds of running stages conversions are tried, {AUTO_TIME_S:g} "
                    "where left out; then the most exact one is made")

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"precision": one_of(AUTO)}, {"verify": having(Verify, {"enabled": one_of(True)})})
        yield when(cls, {"precision": none_of(AUTO)}, {"auto_time_s": NULL})

    @model_validator(mode="before")
    @classmethod
    def _auto_has_its_time(cls, sent: Any) -> Any:
        """Stored in each such task, so that a version which does not know `auto` refuses it by a parameter's name."""
        if isinstance(sent, dict) and sent.get("precision") == AUTO and sent.get("auto_time_s") is None:
            return sent | {"auto_time_s": AUTO_TIME_S}
        return sent

    @model_validator(mode="after")
    def _auto_can_choose(self) -> Self:
        if self.precision != AUTO:
            if self.auto_time_s is not None:
                raise wrong("auto_time_s 需要 precision auto", "auto_time_s needs precision auto")
            return self
        if not self.verify.enabled:
            raise wrong("precision auto 需要 verify.enabled: 由精度检查选择",
                        "precision auto needs verify.enabled: the accuracy check chooses")
        sent = self.model_dump(mode="json")
        if not any(choice.parameters for choice in choose(type(self), sent)):
            why = explain_none(type(self), sent)
            raise wrong(f"precision auto 没有可尝试的转换: {why.zh}", f"precision auto has nothing to try: {why.en}")
        return self


_FLOAT32_MIN, _FLOAT32_MAX = 2.0**-126, 2.0**128 - 2.0**104  # what the artefact computes with
Numbers = Annotated[list[Annotated[float, Field(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)]], Field(min_length=1, max_length=4)]
POSITIVE: Schema = {"minimum": _FLOAT32_MIN}
Divisors = Annotated[Numbers, Field(json_schema_extra={"items": {
    "type": "number", "minimum": -_FLOAT32_MAX, "maximum": _FLOAT32_MAX,
    "anyOf": [{"maximum": -_FLOAT32_MIN}, POSITIVE]}})]
InputName = Annotated[str, Field(json_schema_extra=NO_NUL)]
_BY_INPUT = Field(json_schema_extra={"additionalProperties": False})  # the names have a pattern


class Preprocessing(StrictModel):
    """Baked into the artefact: it takes raw values `x`, the model gets `(x - mean) / std`."""

    mean: Numbers | Annotated[dict[InputName, Numbers], _BY_INPUT] | None = Field(
        None, description="a number for each channel, or {input: numbers}", examples=[[123.675, 116.28, 103.53]])
    std: Divisors | Annotated[dict[InputName, Divisors], _BY_INPUT] | None = Field(
        None, description="a number for each channel, or {input: numbers}; not 0", examples=[[58.395, 57.12, 57.375]])
    channel_order: Literal["rgb", "bgr"] = Field("rgb", description="of the images in the calibration set")

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"inputs": LIST}, {"mean": NULL, "std": NULL})

    @model_validator(mode="after")
    def _not_inside(self) -> Self:
        if getattr(self, "inputs", None) and (self.mean is not None or self.std is not None):
            raise wrong("inputs 与 mean/std 不能同时使用",
                        "inputs cannot be used with mean and std: they would belong to the tensors inside")
        return self

    @model_validator(mode="after")
    def _no_division_by_zero(self) -> Self:
        stds = self.std.values() if isinstance(self.std, dict) else [self.std or []]
        if any(abs(value) < _FLOAT32_MIN for numbers in stds for value in numbers):
            raise wrong("std 不得为 0", "std must not be 0")
        return self


class Quantized(StrictModel):
    """For targets with integer precisions, which need a calibration set."""

    quantized_precisions: ClassVar[tuple[str, ...]] = ("int8", "int16")

    calibration: ObjectPath | None = Field(
        None, description="a prefix or a .zip in a bucket, with .npy arrays or images of raw values",
        examples=["models/calibration/", "models/calibration.zip"])

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"precision": one_of(*cls.quantized_precisions)}, {"calibration": TEXT})
        yield when(cls, {"precision": none_of(*cls.quantized_precisions, AUTO)}, {"calibration": NULL})

    @model_validator(mode="after")
    def _calibration_where_it_is_needed(self) -> Self:
        precision = getattr(self, "precision", None)
        if precision == AUTO:  # it is what the integer ones among the candidates need
            return self
        if precision in self.quantized_precisions and self.calibration is None:
            raise wrong(f"precision {precision} 需要 calibration (校准数据集)",
                        f"precision {precision} needs calibration, a set of samples")
        if precision not in self.quantized_precisions and self.calibration is not None:
            raise wrong(f"precision {precision} 不使用 calibration", f"precision {precision} uses no calibration")
        return self


def object_parameters(platform: Platform) -> tuple[str, ...]:
    """The parameters that name an object or a prefix; one within another with a dot, as `get_parameter` takes it."""
    return _object_names(platform.parameters)


@lru_cache(maxsize=64)
def _object_names(model: type[BaseModel]) -> tuple[str, ...]:
    return (*_objects_of(model),)


def _objects_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _objects_of(info.annotation, f"{prefix}{name}.")
        elif _names_object(info.annotation, info.metadata):
            yield prefix + name


def get_parameter(parameters: Mapping[str, Any], path: str) -> Any:
    """What stands at `verify.inputs`; None where there is nothing."""
    value: Any = parameters
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def set_parameter(parameters: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        parameters = parameters[name]
    parameters[last] = value


def _names_object(annotation: Any, metadata: Iterable[Any]) -> bool:
    return any(isinstance(item, NamesObject) for item in metadata) or any(
        _names_object(inner, getattr(inner, "__metadata__", ())) for inner in get_args(annotation)
        if inner is not annotation)
