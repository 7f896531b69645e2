"""ATC's options for ONNX models, as `extra_params` takes them: names, values, and what excludes what.

Source: ATC user guide, "CLI options", and the checks of atc itself (GE, api/atc). Left out on purpose: what names
files or folders of the worker (`debug_dir`, `op_bank_path`, caches), what leaves files that are no part of the artefact
(`external_weight`, `save_original_model`, `op_debug_level`), what other frameworks than ONNX use (`weight`,
`enable_scope_fusion_passes`), and what the service sets itself (`mode`, `framework`, `model`, `output`).
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from shared.platforms.conditions import NULL, TEXT, Schema, one_of, tell_conditions, when
from shared.schema import StrictModel, wrong

MIN_GEARS, MAX_TOLD_GEARS = 2, 100
MAX_OPEN = 8  # dimensions of a model that the schema of `dynamic_dims` tells
_NEEDED = (("is_input_adjust_hw_layout", "input_fp16_nodes"), ("is_output_adjust_hw_layout", "out_nodes"))
GEARS = ("dynamic_batch_size", "dynamic_image_size", "dynamic_dims")
_TYPES = "FP32|FP16|UINT8|INT8|UINT16|INT16|UINT32|INT32|UINT64|INT64|DOUBLE|HIF8|FP8E5M2|FP8E4M3FN"
_DIM = r"(?:-1|[0-9]+(?:~-?[0-9]+)?)"
_ITEM = r"[^;\s\x00]+"
_SHAPE = rf"[^;\[\]\s\x00]+:\[?{_DIM}(?:,{_DIM})*\]?"


def _as_text(value: Any) -> Any:
    """1, true and "1" are one value: the option's text on the command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


def _as_digit(value: Any) -> Any:
    return {"true": "1", "false": "0"}.get(text, text) if isinstance(text := _as_text(value), str) else text


def _spelled(*values: Any) -> WithJsonSchema:
    return WithJsonSchema({"enum": list(values)})


Switch = Annotated[Literal["0", "1"], BeforeValidator(_as_digit),
                   _spelled("0", "1", 0, 1, "false", "true", False, True)]
Truth = Annotated[Literal["true", "false"], BeforeValidator(_as_text), _spelled("true", "false", True, False)]
Level = Annotated[Literal["0", "1", "2"], BeforeValidator(_as_text), _spelled("0", "1", "2", 0, 1, 2)]


def _matches(pattern: str, example: str) -> Any:
    """A field's metadata: its text matches the pattern."""
    return Field(max_length=4096, pattern=rf"^(?:{pattern})$", examples=[example])


_SIZE = "[1-9][0-9]{0,8}"
_NUMBERS = "[0-9]+(?:,[0-9]+)*"


def _matches_gears(pattern: str, example: str, kinds: list[str], between: str = ";") -> Any:
    """A field's metadata: its text matches the pattern. The schema tells what `_check_gears` takes: several gears of
    one of these kinds, of which none is there twice. Of sizes it takes none with a zero before it."""
    several = "|".join(f"{kind}(?:{between}{kind}){{{MIN_GEARS - 1},{MAX_TOLD_GEARS - 1}}}" for kind in kinds)
    inside = "[0-9,]+" if between == ";" else "[0-9]+"
    twice = f"(?:^|{between})({inside}){between}(?:.*{between})?\\1(?:{between}|$)"
    return Field(max_length=4096, pattern=rf"^(?:{pattern})$", examples=[example], json_schema_extra={
        "pattern": f"^(?:{several})$", "not": {"pattern": twice}})


Names = Annotated[str, _matches(rf"{_ITEM}(?:;{_ITEM})*", "input1;input2")]
Truths = Annotated[str, _matches(r"(?:true|false)(?:,(?:true|false))*", "true,false")]
OutputTypes = Annotated[str, _matches(
    rf"(?:{_TYPES})|{_ITEM}:[0-9]+:(?:{_TYPES})(?:;{_ITEM}:[0-9]+:(?:{_TYPES}))*", "FP16")]
_NAME = "[A-Za-z0-9_]+"

PrecisionModeV2 = Literal["fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16", "mixed_hif8",
                          "cube_hif8"]


class ExtraParams(StrictModel):
    """ATC's options under ATC's names; each goes to the command line as `--name=value`."""

    model_config = ConfigDict(json_schema_extra=tell_conditions)

    input_format: Literal["NCHW", "ND", "NCDHW"] | None = Field(None, description="of the model's inputs")
    out_nodes: Names | None = Field(None, description="node:index, or a tensor's name, separated by ;")
    output_type: OutputTypes | None = Field(
        None, description="a type for all outputs, or node:index:type separated by ;")
    input_fp16_nodes: Names | None = Field(None, description="inputs that take float16, separated by ;")
    is_input_adjust_hw_layout: Truths | None = Field(
        None, description="for each of input_fp16_nodes whether it takes NC1HWC0")
    is_output_adjust_hw_layout: Truths | None = Field(
        None, description="for each of out_nodes whether it gives NC1HWC0")
    dynamic_batch_size: Annotated[str, _matches_gears(_NUMBERS, "1,2,4,8", [_SIZE], ",")] | None = Field(
        None, description="input_shape then says what the other dimensions are")
    dynamic_image_size: Annotated[str, _matches_gears(
        "[0-9]+,[0-9]+(?:;[0-9]+,[0-9]+)*", "416,416;832,832", [f"{_SIZE},{_SIZE}"])] | None = Field(
        None, description="height,width of each gear")
    dynamic_dims: Annotated[str, _matches_gears(f"{_NUMBERS}(?:;{_NUMBERS})*", "416,416;832,832", [
        ",".join([_SIZE] * count) for count in range(1, MAX_OPEN + 1)])] | None = Field(
        None, description="for each gear a value for every open dimension of the model")
    input_shape_range: Annotated[str, _matches(rf"{_SHAPE}(?:;{_SHAPE})*", "images:1~8,3,640,640")] | None = Field(
        None, description="ranges (1~8) or -1 for any; goes to --input_shape, which atc has put in its place")
    precision_mode_v2: PrecisionModeV2 | None = Field(None, description="in the place of precision_mode")
    op_select_implmode: Literal["high_precision", "high_performance", "high_precision_for_all",
                                "high_performance_for_all"] | None = Field(
        None, description="precise or fast implementations of operators")
    optypelist_for_implmode: Annotated[str, _matches(f"{_NAME}(?:,{_NAME})*", "Pooling,SoftmaxV2")] | None = Field(
        None, description="the operator types that op_select_implmode is for")
    allow_hf32: Truth | None = Field(None, description="FP32 as HF32 inside operators")
    enable_small_channel: Switch | None = Field(
        None, description="a faster first convolution with few channels; with insert_op_conf")
    buffer_optimize: Literal["l2_optimize", "l1_optimize", "off_optimize"] | None = Field(
        None, description="whether data stays in L2 or L1 between operators")
    disable_reuse_memory: Switch | None = Field(None, description="no memory is used twice; for looking for errors")
    enable_single_stream: Truth | None = Field(None, description="one stream only")
    ac_parallel_enable: Switch | None = Field(None, description="AI CPU beside the other engines, for open shapes")
    tiling_schedule_optimize: Switch | None = Field(None, description="tiling on the device")
    enable_compress_weight: Truth | None = Field(None, description="compress weights")
    enable_attr_compression: Truth | None = Field(None, description="compress attributes in the artefact")
    sparsity: Switch | None = Field(None, description="4-to-2 structured sparsity of a model that has it")
    aicore_num: Annotated[str, _matches(r"[0-9]+(?:\|[0-9]*)?", "24|48")] | None = Field(
        None, description="AI cores, or cube|vector cores")
    core_type: Literal["AiCore", "VectorCore"] | None = Field(None, description="vector cores only, or AI cores")
    virtual_type: Switch | None = Field(None, description="the artefact may run on virtual devices")
    deterministic: Switch | None = Field(None, description="the same result at each run")
    deterministic_level: Level | None = Field(
        None, description="2 is the same result whatever the batch too")
    is_weight_clip: Switch | None = Field(None, description="weights beyond the range of their type are clipped")
    quant_dumpable: Switch | None = Field(None, description="inputs and outputs of quantized nodes can be dumped")
    status_check: Switch | None = Field(None, description="overflow is looked for at run time")
    atomic_clean_policy: Switch | None = Field(
        None, description="memory is cleared for all operators at once (0) or for each (1)")
    shape_generalized_build_mode: Literal["shape_generalized", "shape_precise"] | None = Field(
        None, description="whether shapes are generalised while compiling")
    oo_level: Literal["O1", "O3"] | None = Field(None, description="how far the graph is optimised")
    host_env_os: Literal["linux"] | None = Field(
        None, description="operating system of the machine that will load the artefact")
    host_env_cpu: Literal["x86_64", "aarch64"] | None = Field(
        None, description="processor of the machine that will load the artefact")

    @model_serializer(mode="wrap")
    def _only_what_was_sent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        for name, other in combinations((*GEARS, "input_shape_range"), 2):
            yield when(cls, {name: TEXT}, {other: NULL})
        yield when(cls, {"dynamic_image_size": TEXT}, {"input_format": one_of(None, "NCHW")})
        yield when(cls, {"dynamic_dims": TEXT}, {"input_format": one_of(None, "ND")})
        yield when(cls, {"optypelist_for_implmode": TEXT},
                   {"op_select_implmode": one_of("high_precision", "high_performance")})
        for name, other in _NEEDED:
            yield when(cls, {name: TEXT}, {other: TEXT})
        yield when(cls, {"output_type": {"type": "string", "pattern": ":"}}, {"out_nodes": TEXT})

    @model_validator(mode="after")
    def _exclusions(self) -> Self:
        dynamic = [name for name in (*GEARS, "input_shape_range") if getattr(self, name) is not None]
        if len(dynamic) > 1:
            raise excluded(dynamic[0], dynamic[1])
        self._check_gears()
        if self.dynamic_image_size is not None and self.input_format not in (None, "NCHW"):
            raise wrong("dynamic_image_size 要求 input_format 为 NCHW", "dynamic_image_size needs input_format NCHW")
        if self.dynamic_dims is not None and self.input_format not in (None, "ND"):
            raise wrong("dynamic_dims 要求 input_format 为 ND", "dynamic_dims needs input_format ND")
        if self.optypelist_for_implmode is not None and self.op_select_implmode not in (
                "high_precision", "high_performance"):
            raise wrong("optypelist_for_implmode 要求 op_select_implmode 为 high_precision 或 high_performance",
                        "optypelist_for_implmode needs op_select_implmode high_precision or high_performance")
        for name, other in _NEEDED:
            if getattr(self, name) is not None and getattr(self, other) is None:
                raise needs(name, other)
        if self.output_type is not None and ":" in self.output_type and self.out_nodes is None:
            raise needs("output_type", "out_nodes")
        return self

    def gears(self) -> list[list[int]]:
        """The gears of whichever `dynamic_…` is there, each with its dimensions; none without."""
        if self.dynamic_batch_size is not None:
            return [[int(size)] for size in self.dynamic_batch_size.split(",")]
        text = self.dynamic_image_size or self.dynamic_dims
        return [[int(dim) for dim in gear.split(",")] for gear in text.split(";")] if text else []

    def _check_gears(self) -> None:
        """Source: GE error codes E10035 and E10037 to E10039; how many at most depends on the chip."""
        gears = self.gears()
        if gears and len(gears) < MIN_GEARS:
            raise wrong(f"至少需要 {MIN_GEARS} 个档位", f"needs {MIN_GEARS} gears at least")
        if len({len(gear) for gear in gears}) > 1:
            raise wrong("各档位的维数应相同", "all gears need the same number of dimensions")
        if len({tuple(gear) for gear in gears}) < len(gears):
            raise wrong("档位重复", "a gear is there twice")
        if any(not 1 <= dim < 2**31 for gear in gears for dim in gear):
            raise wrong("档位的维度应为正整数", "a gear's dimensions are whole numbers from 1")


def excluded(name: str, other: str) -> Exception:
    return wrong(f"{name} 与 {other} 不能同时使用", f"{name} and {other} exclude one another")


def needs(name: str, other: str) -> Exception:
    return wrong(f"{name} 需要 {other}", f"{name} needs {other}")


def describe_unknown(name: str) -> tuple[str, str] | None:
    """Why an option of ATC is not taken, in both languages; None for a name that is none."""
    return next((why for pattern, why in _REFUSED if re.fullmatch(pattern, name)), None)


_REFUSED: tuple[tuple[str, tuple[str, str]], ...] = (
    ("mode|framework|model|output|om|json|check_report|singleop|h|help|dump_mode|display_model_info",
     ("由服务设置", "is set by the service itself")),
    ("external_weight|save_original_model|op_debug_level|debug_dir|op_debug_config",
     ("会产生产物以外的文件", "leaves files that are no part of the artefact")),
    ("weight|op_name_map|enable_scope_fusion_passes|input_hint_shape", ("不适用于 ONNX", "is not for ONNX models")),
    (r".*_bank_path|op_compiler_cache_.*|device_id|cluster_config|cal_conf",
     ("指向工作机上的路径或设备", "names a folder or a device of the worker")),
    ("auto_tune_mode|target", ("ATC 已不支持", "is no longer supported by ATC")),
)

