"""Rockchip NPUs through rknn-toolkit2: `.rknn`.

The options are those of `RKNN.config` and `RKNN.build`; which chip takes what was found by running rknn-toolkit2 2.5.0
for every one of them: its documents promise more.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from shared.platforms.base import Automatic, Platform, Preprocessing, Quantized, TensorName, Verify
from shared.platforms.candidates import AUTO, Candidate
from shared.platforms.conditions import LIST, NULL, TEXT, Schema, having, none_of, one_of, when
from shared.schema import NO_NUL, wrong

# The quantized types of each precision (weights and activations), the tool's default first.
QUANTIZED_DTYPES = {"int8": ("w8a8", "w8a16", "w4a16"), "int16": ("w16a16i_dfp",)}


@dataclass(frozen=True)
class Chip:
    """What the compiler takes for a chip; without `float_dtypes` it takes quantized models alone."""

    quantized_dtypes: tuple[str, ...] = ("w8a8", "w16a16i_dfp")
    float_dtypes: tuple[str, ...] = ("float16", "bfloat16")
    sparse_infer: bool = False
    single_core_mode: bool = False  # has several cores
    mini_rknn: bool = False


CHIPS = {
    "rk3562": Chip(("w8a8", "w8a16", "w16a16i_dfp"), mini_rknn=True),
    "rk3566": Chip(),
    "rk3568": Chip(),
    "rk3576": Chip(("w8a8", "w4a16", "w16a16i_dfp"), sparse_infer=True, single_core_mode=True),
    "rk3588": Chip(single_core_mode=True, mini_rknn=True),
    "rv1103": Chip(float_dtypes=(), mini_rknn=True),
    "rv1103b": Chip(("w8a8",), float_dtypes=(), sparse_infer=True, mini_rknn=True),
    "rv1106": Chip(float_dtypes=(), mini_rknn=True),
    "rv1106b": Chip(("w8a8",), float_dtypes=(), sparse_infer=True, mini_rknn=True),
    "rv1126b": Chip(("w8a8", "w4a16", "w16a16i_dfp"), sparse_infer=True, mini_rknn=True),
    "rk2118": Chip((), ("float16",), sparse_infer=True, mini_rknn=True),  # it aborts on quantized layers
}

FLAGS = ("sparse_infer", "single_core_mode", "mini_rknn")  # which not every chip has
Rule = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,128}$")]
Cut = Annotated[list[TensorName], Field(min_length=2, max_length=2)]


class RockchipParameters(Preprocessing, Quantized, Automatic):
    """RKNN for one chip. Names and values of the options are rknn-toolkit2's own."""

    only_quantized: ClassVar[tuple[str, ...]] = (
        "quantized_dtype", "quantized_algorithm", "quantized_method", "auto_hybrid", "auto_hybrid_cos_thresh",
        "auto_hybrid_euc_thresh", "custom_hybrid")
    # Without mmse: it takes thirty times as long as the others, and what it could save the hybrid mostly saves too. A
    # client who sends it has it in every candidate.
    candidates: ClassVar[tuple[Candidate, ...]] = (
        Candidate("int8", "int8"),
        Candidate("int8-kl", "int8", {"quantized_algorithm": "kl_divergence"}),
        Candidate("int8-hybrid", "int8", {"auto_hybrid": True, "auto_hybrid_cos_thresh": 0.999}),
        Candidate("w8a16", "int8", {"quantized_dtype": "w8a16"}),
        Candidate("int16", "int16"),
        Candidate("fp16", "fp16"),
    )

    chip: Literal[tuple(CHIPS)] = Field(description="of the board", examples=["rk3588"])  # type: ignore[valid-type]
    precision: Literal["auto", "fp16", "int8", "int16"] = Field(
        "fp16", description="what the chip computes in. auto: the fastest that the accuracy check passes, of int8 in "
                            "several ways, also with layers in floating point, int16 (these with a calibration set) "
                            "and fp16")
    float_dtype: Literal["float16", "bfloat16"] = Field("float16", description="of what is not quantized")
    quantized_dtype: Literal["w8a8", "w8a16", "w4a16", "w16a16i_dfp"] | None = Field(
        None, description="bits of weights and activations; w8a8 for int8, w16a16i_dfp for int16 where left out")
    quantized_algorithm: Literal["normal", "mmse", "kl_divergence", "gdq"] = Field(
        "normal", description="how ranges are found; mmse is slow and often best")
    quantized_method: Literal["channel", "layer", "group32", "group64", "group96", "group128", "group160", "group192",
                              "group224", "group256"] = Field("channel", description="what has a scale of its own")
    auto_hybrid: bool = Field(False, description="leave layers that quantize badly in floating point")
    auto_hybrid_cos_thresh: float = Field(0.98, gt=0, le=1, description="auto_hybrid: a layer below it quantizes badly")
    auto_hybrid_euc_thresh: float | None = Field(None, gt=0, allow_inf_nan=False,
                                                 description="auto_hybrid: a layer above this distance does too")
    custom_hybrid: Annotated[list[Cut], Field(min_length=1, max_length=64)] | None = Field(
        None, description="parts of the graph, from a tensor to a tensor, to leave in floating point",
        examples=[[["conv1_out", "conv3_out"]]])
    optimization_level: int = Field(3, ge=0, le=3, description="3: all of the tool's graph optimisations; 0: none")
    model_pruning: bool = Field(False, description="cut away weights that do nothing, without loss")
    compress_weight: bool = Field(False, description="a smaller file")
    remove_weight: bool = Field(False, description="a slave model, without the weights that it shares with another")
    remove_reshape: bool = Field(False, description="reshapes at the edges become other shapes of inputs and outputs")
    single_core_mode: bool = Field(False, description="for one NPU core only: a smaller file")
    sparse_infer: bool = Field(False, description="use the sparsity of weights that were trained for it")
    enable_flash_attention: bool = Field(False, description="for attention that was exported as one operator")
    mini_rknn: bool = Field(False, description="for the mini runtime")
    memory_plan_strategy: Literal["BestFit", "GreedyBySize", "GreedyByLifetime", "SlowPeakGrowth"] = Field(
        "BestFit", description="how the tool plans the memory of tensors inside")
    compute_order: Literal["WidthFirst", "DepthFirst"] = Field(
        "WidthFirst", description="how operators are ordered")
    op_target: Annotated[dict[TensorName, Literal["cpu", "npu", "gpu"]], Field(
        max_length=256, json_schema_extra={"additionalProperties": False})] | None = Field(
        None, description="{tensor that an operator writes: where it runs}")
    disable_rules: Annotated[list[Rule], Field(min_length=1, max_length=64)] | None = Field(
        None, description="rules of the tool's graph optimiser to leave out, by the names in its log; where it fails "
        "in one and names this remedy, it is tried without being asked for", examples=[["convert_layernorm_to_exnorm"]])
    custom_string: Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=NO_NUL)] | None = Field(
        None, description="to be read at runtime")
    error_analysis: bool = Field(False, description="each layer's error on the simulator, for one sample")

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        yield when(cls, {"precision": one_of("fp16")}, {
            "quantized_dtype": NULL, "auto_hybrid": one_of(False), "custom_hybrid": NULL})
        for precision, dtypes in QUANTIZED_DTYPES.items():
            yield when(cls, {"precision": one_of(precision)}, {"quantized_dtype": one_of(None, *dtypes)})
            yield when(cls, {"precision": one_of(precision), "quantized_dtype": NULL},
                       {"chip": one_of(*_chips_that_take(dtypes[0]))})
        only_quantized = one_of(*_chips_without("float_dtypes"))
        yield when(cls, {"chip": only_quantized}, {"precision": none_of("fp16"), "calibration": TEXT})
        # With the others fp16 is left to auto, which uses none of these.
        for condition in ({"precision": one_of(*QUANTIZED_DTYPES)},
                          {"precision": one_of(AUTO), "chip": only_quantized}):
            yield from _quantization(cls, condition)
        unable = [name for name, chip in CHIPS.items() if "bfloat16" not in chip.float_dtypes]
        yield when(cls, {"float_dtype": one_of("bfloat16")}, {"chip": none_of(*unable)})
        for name in FLAGS:
            yield when(cls, {name: one_of(True)}, {"chip": none_of(*_chips_without(name))})
        yield when(cls, {"error_analysis": one_of(True)}, {"verify": having(Verify, {"enabled": one_of(True)})})

    @model_validator(mode="after")
    def _quantization_fits(self) -> Self:
        """What rknn-toolkit2 2.5.0 refuses in `config`."""
        if self.precision == AUTO:  # each candidate is held to it
            return self
        dtype = self.tool_dtype()
        if dtype is None:
            for name in ("quantized_dtype", "auto_hybrid", "custom_hybrid"):
                if getattr(self, name):
                    raise wrong(f"{name} 需要 precision int8 或 int16", f"{name} needs precision int8 or int16")
            return self
        if dtype not in QUANTIZED_DTYPES[self.precision]:
            raise wrong(f"quantized_dtype {dtype} 不属于 precision {self.precision}",
                        f"quantized_dtype {dtype} is none of precision {self.precision}: "
                        + ", ".join(QUANTIZED_DTYPES[self.precision]))
        if self.quantized_algorithm == "gdq" and dtype not in ("w4a16", "w8a16"):
            raise wrong("quantized_algorithm gdq 仅适用于 w4a16 和 w8a16",
                        "quantized_algorithm gdq is for w4a16 and w8a16 only")
        if self.quantized_method.startswith("group") and dtype != "w4a16":
            raise wrong(f"quantized_method {self.quantized_method} 仅适用于 w4a16",
                        f"quantized_method {self.quantized_method} is for w4a16 only")
        if self.auto_hybrid and self.custom_hybrid:
            raise wrong("auto_hybrid 与 custom_hybrid 不能同时使用",
                        "auto_hybrid and custom_hybrid exclude one another")
        return self

    @model_validator(mode="after")
    def _chip_takes_it(self) -> Self:
        if self.precision == AUTO:
            return self
        chip, dtype = CHIPS[self.chip], self.tool_dtype()
        if dtype is None and not chip.float_dtypes:
            raise wrong(f"{self.chip} 只运行量化模型: 请使用 precision int8",
                        f"{self.chip} runs quantized models only: send precision int8")
        if dtype is not None and dtype not in chip.quantized_dtypes:
            allowed = ", ".join(chip.quantized_dtypes) or "fp16"
            raise wrong(f"{self.chip} 不支持 {dtype}, 可用: {allowed}", f"{self.chip} does not take {dtype}, it takes: "
                                                                     f"{allowed}")
        if self.float_dtype != "float16" and self.float_dtype not in chip.float_dtypes:
            raise wrong(f"{self.chip} 不支持 float_dtype {self.float_dtype}",
                        f"{self.chip} does not take float_dtype {self.float_dtype}")
        for name in FLAGS:
            if getattr(self, name) and not getattr(chip, name):
                able = ", ".join(other for other, facts in CHIPS.items() if getattr(facts, name))
                raise wrong(f"{self.chip} 不支持 {name}, 支持的芯片: {able}", f"{self.chip} has no {name}; these have: "
                                                                        f"{able}")
        return self

    @model_validator(mode="after")
    def _can_analyse(self) -> Self:
        if self.error_analysis and not self.verify.enabled:
            raise wrong("error_analysis 需要 verify.enabled", "error_analysis needs verify.enabled")
        return self

    def tool_dtype(self) -> str | None:
        """The tool's `quantized_dtype`; None for a model in floating point."""
        if self.precision == "fp16":
            return None
        return self.quantized_dtype or QUANTIZED_DTYPES[self.precision][0]


def _chips_without(fact: str) -> list[str]:
    return [name for name, chip in CHIPS.items() if not getattr(chip, fact)]


def _chips_that_take(quantized_dtype: str) -> list[str]:
    return [name for name, chip in CHIPS.items() if quantized_dtype in chip.quantized_dtypes]


def _quantization(model: type[RockchipParameters], condition: dict[str, Schema]) -> Iterator[Schema]:
    """How a model is quantized where it surely is, under this condition."""
    def where(**more: Schema) -> dict[str, Schema]:
        return condition | more

    for dtype in (name for names in QUANTIZED_DTYPES.values() for name in names):
        yield when(model, where(quantized_dtype=one_of(dtype)), {"chip": one_of(*_chips_that_take(dtype))})
    yield when(model, where(quantized_algorithm=one_of("gdq")), {"quantized_dtype": one_of("w4a16", "w8a16")})
    yield when(model, where(quantized_method=none_of("channel", "layer")), {"quantized_dtype": one_of("w4a16")})
    yield when(model, where(custom_hybrid=LIST), {"auto_hybrid": one_of(False)})


PLATFORM = Platform(
    name="rockchip",
    title="Rockchip NPU (RKNN)",
    task_types=("onnx_to_rknn",),
    parameters=RockchipParameters,
    artefact_suffix=".rknn",
    newest_opset=19,  # "Unsupport onnx opset 21, need <= 19!"
    # "dataconvert type -1 is unsupport in current!", beside a success.
    no_casts_of={"int8": ("int32",), "int16": ("int32",)},
    input_dtypes=("float", "float16", "double", "int32", "int64", "bool"),
    scalar_inputs=False,  # "list index out of range" in `build`
    never_again=("int16",),  # "If a quantized model has been import, please set do_quantization = False."
    constant_outputs=False,
    example={"chip": "rk3588", "input_shape": "1,3,480,480", "precision": "fp16"},
)
