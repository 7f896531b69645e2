"""Intel NPU, GPU and CPU through OpenVINO IR: `.xml` with its weights in `.bin` beside it.

Sources: NNCF 3.4's own docstrings (`nncf.quantize`, `nncf.quantize_with_accuracy_control`, `nncf.IgnoredScope`,
`nncf.AdvancedQuantizationParameters`) for the options of the quantizer, whose names these are; OpenVINO 2026.4,
"Preprocessing API", for what can be baked in.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from shared.patterns import find_wrong
from shared.platforms.base import Automatic, Platform, Preprocessing, Quantized, TensorName, Verify
from shared.platforms.candidates import AUTO, Candidate
from shared.platforms.conditions import (
    LIST,
    NULL,
    Schema,
    defaults_of,
    having,
    none_of,
    one_of,
    tell_conditions,
    when,
)
from shared.schema import NO_NUL, StrictModel, wrong

Texts = Annotated[list[TensorName], Field(min_length=1, max_length=256)]


Patterns = Annotated[Texts, Field(json_schema_extra={"items": {
    "type": "string", "format": "regex", "minLength": 1, "maxLength": 512} | NO_NUL})]


class IgnoredScope(StrictModel):
    """Operators that stay in floating point, each by any of its marks, all as OpenVINO names them."""

    model_config = ConfigDict(json_schema_extra=tell_conditions)

    names: Texts | None = Field(None, description="operators' names in the IR: mostly those of the ONNX nodes")
    patterns: Patterns | None = Field(None, description="regular expressions of names", examples=[["/head/.*"]])
    types: Texts | None = Field(None, description="OpenVINO's operator types", examples=[["Multiply", "MatMul"]])

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield {"anyOf": [having(cls, {name: LIST}) for name in cls.model_fields]}

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.names or self.patterns or self.types):
            raise wrong("ignored_scope 需要 names, patterns 或 types",
                        "ignored_scope needs names, patterns or types")
        problem = find_wrong(self.patterns or [])
        if problem:
            raise wrong(problem.zh, problem.en)
        return self


class AccuracyControl(StrictModel):
    """Mixed precision by measurement: the operators that cost most go back to floating point, one after the other,
    until the worst output's cosine against ONNX Runtime has dropped by no more than `max_drop`."""

    max_drop: float = Field(0.005, gt=0, lt=1, description="of the cosine")
    max_num_iterations: int | None = Field(None, ge=1, le=10_000, description="operators to give back at most")


class Quantization(StrictModel):
    """What an expert tells `nncf.quantize`. Preset and range estimator are not NNCF's defaults but the pair that came
    closest to the models on all three PP-OCR networks: cosine 0.978 to 0.989 against 0.959 to 0.970."""

    model_config = ConfigDict(json_schema_extra=tell_conditions)

    preset: Literal["performance", "mixed"] = Field(
        "mixed", description="mixed: asymmetric activations where they pay; performance: symmetric ones, faster")
    subset_size: int = Field(300, ge=1, le=10_000, description="calibration samples to use at most")
    fast_bias_correction: bool = Field(True, description="false corrects biases more exactly, and slower")
    model_type: Literal["transformer"] | None = Field(None, description="leaves to floating point what attention needs")
    smooth_quant_alpha: float | None = Field(
        None, ge=-1, le=1, description="of a transformer's MatMul operators, 0.95 where left out; -1: no SmoothQuant")
    overflow_fix: Literal["disable", "first_layer_only", "enable"] | None = Field(
        None, description="which weights keep to half the range, for CPUs without VNNI; first_layer_only where left "
                          "out. An NPU needs it nowhere")
    activations_range_estimator: Literal["minmax", "mean_minmax", "median_minmax", "mean_no_outliers_minmax",
                                         "mean_quantile", "histogram"] = Field(
        "histogram", description="how the range of activations is found; histogram: of the least error")
    ignored_scope: IgnoredScope | None = None
    accuracy_control: AccuracyControl | None = None

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"model_type": NULL}, {"smooth_quant_alpha": NULL})

    @model_validator(mode="after")
    def _smooths_transformers(self) -> Self:
        if self.smooth_quant_alpha is not None and self.model_type != "transformer":
            raise wrong("smooth_quant_alpha 需要 model_type transformer",
                        "smooth_quant_alpha needs model_type transformer")
        return self


class IntelParameters(Preprocessing, Quantized, Automatic):
    """OpenVINO IR. What is baked in changes the artefact's inputs alone: mean, std and calibration samples are in the
    model's own layout and order of channels."""

    quantized_precisions: ClassVar[tuple[str, ...]] = ("int8",)
    only_quantized: ClassVar[tuple[str, ...]] = ("quantization",)
    candidates: ClassVar[tuple[Candidate, ...]] = (
        Candidate("int8", "int8"),
        Candidate("int8-minmax", "int8", {"quantization": {"activations_range_estimator": "minmax"}}),
        Candidate("int8-mixed", "int8", {"quantization": {"accuracy_control": {"max_drop": 0.005}}}),
        Candidate("fp16", "fp16"),
        Candidate("fp32", "fp32"),
    )

    precision: Literal["auto", "fp32", "fp16", "int8"] = Field(
        "fp16", description="of the weights, and with int8 of what is computed too where that can be quantized. auto: "
                            "the fastest that the accuracy check passes, of int8 in several ways (with a calibration "
                            "set), fp16 and fp32")
    compress_to_fp16: bool | None = Field(
        None, description="store weights in FP16 that are not INT8; where left out: unless precision is fp32")
    quantization: Quantization = Field(Quantization(), description="for precision int8")
    layout: Literal["nchw", "nhwc"] | None = Field(
        None, description="of the artefact's image inputs; the model's where left out")
    reverse_channels: bool = Field(
        False, description="the artefact's image inputs have their channels the other way round: BGR for a model that "
                           "wants RGB")
    input_type: Literal["u8"] | None = Field(
        None, description="u8: the artefact's image inputs are bytes, 0 to 255; the model's type where left out")

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"precision": one_of("fp16")}, {"compress_to_fp16": none_of(False)})
        yield when(cls, {"precision": one_of("fp32")}, {"compress_to_fp16": none_of(True)})
        yield when(cls, {"precision": none_of("int8", AUTO)}, {"quantization": defaults_of(Quantization)})
        yield when(cls, {"verify": having(Verify, {"enabled": one_of(False)})},
                   {"quantization": having(Quantization, {"accuracy_control": NULL})})

    @model_validator(mode="after")
    def _weights_fit_the_precision(self) -> Self:
        if self.compress_to_fp16 is not None and self.precision not in ("int8", AUTO) and (
                self.compress_to_fp16 != (self.precision == "fp16")):
            raise wrong(f"compress_to_fp16 {str(self.compress_to_fp16).lower()} 与 precision {self.precision} 矛盾",
                        f"compress_to_fp16 {str(self.compress_to_fp16).lower()} contradicts precision "
                        f"{self.precision}")
        return self

    @model_validator(mode="after")
    def _quantization_fits_the_precision(self) -> Self:
        if self.precision not in ("int8", AUTO) and self.quantization != Quantization():
            raise wrong("quantization 需要 precision int8", "quantization needs precision int8")
        if self.quantization.accuracy_control is not None and not self.verify.enabled:
            raise wrong("accuracy_control 需要 verify.enabled", "accuracy_control needs verify.enabled")
        return self


PLATFORM = Platform(
    name="intel",
    title="Intel NPU (OpenVINO IR)",
    task_types=("onnx_to_openvino",),
    parameters=IntelParameters,
    artefact_suffix=".xml",
    example={"input_shape": "1,3,480,480", "precision": "fp16"},
    also=(".bin",),
)
