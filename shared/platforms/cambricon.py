"""Cambricon MLUs through MagicMind: one `.mm` file.

Sources: magicmind_cloud (Cambricon's own samples), buildin/python_common: build_param.py for the options and their
defaults, model_process.py and README.md for the keys of the BuilderConfig and what excludes what; magicmind_edge for
the edge chips' names.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from shared.platforms.base import POSITIVE, Automatic, Platform, Preprocessing, Quantized
from shared.platforms.candidates import AUTO, Candidate
from shared.platforms.conditions import Schema, none_of, one_of, when
from shared.platforms.shapes import MAX_DIMENSIONS
from shared.schema import NO_NUL, StrictModel, wrong

MAX_CLUSTERS = 64

Dimensions = Annotated[list[Annotated[int, Field(ge=1, lt=2**31)]], Field(min_length=1, max_length=MAX_DIMENSIONS)]
Chip = Literal["mtp_372", "mtp_592", "tp_322", "mtp_322"]


class DimRange(StrictModel):
    """The shapes that one input of a dynamic artefact may have."""

    min: Dimensions = Field(description="the least size of each dimension", examples=[[1, 3, 224, 224]])
    max: Dimensions = Field(description="the greatest size of each dimension", examples=[[8, 3, 224, 224]])

    model_config = ConfigDict(json_schema_extra={"anyOf": [
        {"properties": {name: {"minItems": rank, "maxItems": rank} for name in ("min", "max")}}
        for rank in range(1, MAX_DIMENSIONS + 1)]})

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if len(self.min) != len(self.max):
            raise wrong("min 与 max 的维数不同", "min and max have different numbers of dimensions")
        if any(least > most for least, most in zip(self.min, self.max, strict=True)):
            raise wrong("min 大于 max", "min is greater than max")
        return self


Ranges = Annotated[
    dict[Annotated[str, Field(max_length=512, json_schema_extra=NO_NUL)], DimRange],
    Field(min_length=1, max_length=64, json_schema_extra={"additionalProperties": False})]


class PrintIr(StrictModel):
    print_level: Literal[1] = Field(1, description="the only level that is documented")


class DebugConfig(StrictModel):
    fusion_enable: bool | None = Field(None, description="false builds without fusing operators, to find a bad fusion")
    print_ir: PrintIr | None = Field(None, description="print the network into the stage's log as it is transformed")


class BuilderConfig(StrictModel):
    """What of MagicMind's own BuilderConfig may be sent as it is; the rest has parameters of its own."""

    compute_determinism: bool | None = Field(None, description="the same result for the same input at every run")
    debug_config: DebugConfig | None = Field(None, description="for finding out why a build fails")


class CambriconParameters(Preprocessing, Quantized, Automatic):
    """A MagicMind model. Quantized precisions are calibrated on an MLU; with mean or std the inputs become uint8."""

    # Options of the quantizer, which would be ignored without a word for other precisions.
    only_quantized: ClassVar[tuple[str, ...]] = (
        "mixed_float", "quantization_algorithm", "activation_quant_algo", "weight_quant_granularity")
    candidates: ClassVar[tuple[Candidate, ...]] = (
        Candidate("int8", "int8"),
        Candidate("int8-eqnm", "int8", {"quantization_algorithm": "eqnm"}),
        Candidate("int8-axis", "int8", {"weight_quant_granularity": "per_axis"}),
        Candidate("int16", "int16"),
        Candidate("fp16", "fp16"),
        Candidate("fp32", "fp32"),
    )

    chip: Chip = Field("mtp_372", description="the architecture: mtp_372 (MLU370), mtp_592 (MLU590), and the edge "
                                              "chips tp_322, which some releases call mtp_322")
    cluster_num: list[Annotated[int, Field(ge=1, le=MAX_CLUSTERS)]] | None = Field(
        None, min_length=1, max_length=8, examples=[[2, 6, 8]],
        description="numbers of clusters to compile for; at run time the nearest that is not above what there is; "
                    "without it MagicMind chooses")
    precision: Literal["auto", "fp32", "fp16", "int8", "int16"] = Field(
        "fp16", description="force_float32, force_float16, or qint8 and qint16 mixed with mixed_float. auto: the "
                            "fastest that the accuracy check passes; without an MLU nothing can be checked, and fp16 "
                            "is taken")
    mixed_float: Literal["float16", "float32"] = Field(
        "float16", description="what operators that are not quantized compute in: qint8_mixed_float16, …_float32")
    quantization_algorithm: Literal["linear", "eqnm"] = Field(
        "linear", description="statistics of the calibration; eqnm minimises the quantization noise")
    activation_quant_algo: Literal["symmetric", "asymmetric"] = Field(
        "symmetric", description="of the activations; eqnm is symmetric only")
    weight_quant_granularity: Literal["per_tensor", "per_axis"] = Field(
        "per_tensor", description="one scale for a weight, or one for each of its output channels")
    dim_range: Ranges | None = Field(
        None, examples=[{"images": {"min": [1, 3, 640, 640], "max": [8, 3, 640, 640]}}],
        description="makes a dynamic artefact: {input: {min, max}}, inputs that are left out stay fixed; an empty name "
                    "is the only input. input_shape lies between and is what calibration and verification use")
    layout: Literal["nchw", "nhwc"] = Field("nchw", description="of the artefact's image inputs")
    output_layout: Literal["nchw", "nhwc"] = Field("nchw", description="of the artefact's outputs with four dimensions")
    computation_preference: Literal["auto", "fast", "high_precision"] = Field(
        "auto", description="how the operators compute")
    type64to32_conversion: bool = Field(
        True, description="64-bit data becomes 32-bit; MagicMind has no 64-bit tensors, and most ONNX models some")
    conv_scale_fold: bool = Field(
        False, description="fold multiplications and additions after a convolution into it; may cost a quantized model "
                           "accuracy")
    builder_config: BuilderConfig | None = Field(None, description="further entries of MagicMind's BuilderConfig")

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"quantization_algorithm": one_of("eqnm"), "precision": none_of(AUTO)},
                   {"activation_quant_algo": one_of("symmetric")})
        yield when(cls, {"precision": none_of(*cls.quantized_precisions, AUTO)}, {
            name: one_of(cls.model_fields[name].default) for name in cls.only_quantized})
        yield {"properties": {"std": {"items": POSITIVE, "patternProperties": {"": {"items": POSITIVE}}}}}

    @model_validator(mode="after")
    def _what_excludes_what(self) -> Self:
        if self.quantization_algorithm == "eqnm" and self.activation_quant_algo == "asymmetric":
            raise wrong("quantization_algorithm eqnm 仅支持 activation_quant_algo symmetric",
                        "quantization_algorithm eqnm goes with activation_quant_algo symmetric only")
        if self.precision not in (*self.quantized_precisions, AUTO):
            fields = type(self).model_fields
            ignored = [name for name in self.only_quantized if getattr(self, name) != fields[name].default]
            if ignored:
                raise wrong(f"precision {self.precision} 不使用 {', '.join(ignored)}",
                            f"precision {self.precision} makes no use of {', '.join(ignored)}")
        if any(number < 0 for number in _numbers(self.std)):
            raise wrong("std 不得为负数", "std must not be negative")
        return self


def _numbers(values: Any) -> list[float]:
    return [number for numbers in values.values() for number in numbers] if isinstance(values, dict) else values or []


PLATFORM = Platform(
    name="cambricon",
    title="Cambricon MLU (MagicMind)",
    task_types=("onnx_to_magicmind",),
    parameters=CambriconParameters,
    artefact_suffix=".mm",
    example={"input_shape": "1,3,480,480", "chip": "mtp_372", "precision": "fp16"},
)
