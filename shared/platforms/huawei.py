"""Huawei Ascend NPUs through CANN's ATC: one `.om`."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shared.platforms.base import CommonParameters, ObjectPath, Platform, Verify
from shared.platforms.conditions import NULL, Schema, having
from shared.platforms.huawei_chips import (
    FORM,
    SocVersion,
    has_bfloat16,
    has_hifloat8,
    max_gears,
    takes_shape_ranges,
)
from shared.platforms.huawei_options import ExtraParams, describe_unknown, excluded
from shared.schema import wrong

# ATC's options that name a file: here the path of an object.
FILES = ("insert_op_conf", "op_precision_mode", "modify_mixlist", "keep_dtype", "fusion_switch_file",
         "compression_optimize_conf", "compress_weight_conf", "customize_dtypes")
_OWN_FIELDS = ("soc_version", "precision_mode", "log", "input_shape", *FILES)

PrecisionMode = Literal["force_fp16", "force_fp32", "cube_fp16in_fp32out", "allow_mix_precision", "allow_fp32_to_fp16",
                        "must_keep_origin_dtype", "allow_mix_precision_fp16", "allow_mix_precision_bf16",
                        "allow_fp32_to_bf16"]
_MODE_OF = {"fp16": "force_fp16", "fp32": "force_fp32"}
_FP32_MODES = ("force_fp32", "cube_fp16in_fp32out", "must_keep_origin_dtype", "origin")
_MIXED_MODES = ("allow_mix_precision", "allow_mix_precision_fp16", "allow_mix_precision_bf16", "mixed_float16",
                "mixed_bfloat16", "mixed_hif8")
_ORIGINAL_MODES = ("must_keep_origin_dtype", "origin")
_EXCLUDED = (("op_precision_mode", "op_select_implmode"), ("insert_op_conf", "dynamic_dims"),
             ("compress_weight_conf", "enable_compress_weight"))  # files, and the options that cannot be beside them


class HuaweiParameters(CommonParameters):
    """ATC's options under ATC's names. Those that name a file take an object's path; the rest are in `extra_params`.

    `chip` is another name of `soc_version`. `precision` chooses a `precision_mode` where none is sent: fp16 is
    `force_fp16`, fp32 is `force_fp32`. `Ascend910B` is a chip of the Atlas training series; the 910B of Atlas A2 are
    `Ascend910B1` to `Ascend910B4`.

    Source: ATC user guide, "CLI options"; exclusions are those of its "related options" sections.
    """

    precision: Literal["fp32", "fp16"] | None = Field(None, description="chooses precision_mode where none is sent")
    chip: Annotated[str, Field(max_length=40, json_schema_extra={"pattern": FORM})] | None = Field(
        None, description="another name of soc_version")
    soc_version: SocVersion = Field(
        "Ascend910B", description="the chip that will run the artefact: Ascend and the name that npu-smi info shows")
    precision_mode: PrecisionMode | None = Field(
        "allow_fp32_to_fp16", description="how much precision the chip may give up; null with precision_mode_v2")
    log: Literal["debug", "info", "warning", "error", "null"] = Field(
        "error", description="how much atc writes into the log of the stage")
    insert_op_conf: ObjectPath | None = Field(None, description="AIPP configuration")
    op_precision_mode: ObjectPath | None = Field(None, description=".ini with a precision for single operators")
    modify_mixlist: ObjectPath | None = Field(
        None, description=".json of operators that may lose precision; for mixed precision modes")
    keep_dtype: ObjectPath | None = Field(None, description="a list of nodes or types that keep their precision")
    fusion_switch_file: ObjectPath | None = Field(None, description="fusion rules to switch off")
    compression_optimize_conf: ObjectPath | None = Field(
        None, description="enable_first_layer_quantization; no calibration, which needs an NPU")
    compress_weight_conf: ObjectPath | None = Field(None, description="nodes whose weights are compressed")
    customize_dtypes: ObjectPath | None = Field(None, description="data types for single operators")
    extra_params: ExtraParams = Field(ExtraParams(), description="further options of ATC")

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        # What depends on a chip, or on options in `extra_params`, is not told.
        yield {"properties": {"verify": having(Verify, {"min_cosine": NULL})}}

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, sent: Any) -> Any:
        """One spelling of what can be said in several ways."""
        if not isinstance(sent, dict):
            return sent
        values = dict(sent)
        if isinstance(values.get("extra_params"), dict):
            extra: dict[str, Any] = dict(values["extra_params"])
            values["extra_params"] = extra
            for name in [name for name in _OWN_FIELDS if name in extra]:
                _put_once(values, name, extra.pop(name), f"extra_params.{name}")
            for name in extra:
                if name not in ExtraParams.model_fields and (why := describe_unknown(name)):
                    raise wrong(f"extra_params.{name} {why[0]}", f"extra_params.{name} {why[1]}")
        if values.get("chip") is not None:
            _put_once(values, "soc_version", values["chip"], "chip")
        if "precision_mode" not in values:
            options = values.get("extra_params")
            if isinstance(options, dict) and options.get("precision_mode_v2") is not None:
                values["precision_mode"] = None
            elif isinstance(precision := values.get("precision"), str) and precision in _MODE_OF:
                values["precision_mode"] = _MODE_OF[precision]
        return values

    @property
    def mode(self) -> str | None:
        """What `precision_mode` or `precision_mode_v2` is."""
        return self.precision_mode or self.extra_params.precision_mode_v2

    @model_validator(mode="after")
    def _precision_is_one(self) -> Self:
        if self.precision_mode is not None and self.extra_params.precision_mode_v2 is not None:
            raise excluded("precision_mode", "precision_mode_v2")
        if self.precision is not None and self.mode and (self.precision == "fp32") != (self.mode in _FP32_MODES):
            raise wrong(f"precision {self.precision} 与 {self.mode} 矛盾",
                        f"precision {self.precision} contradicts {self.mode}")
        mode = self.mode or ""
        if ("bf16" in mode or "bfloat16" in mode) and not has_bfloat16(self.soc_version):
            raise wrong(f"{self.soc_version} 不支持 bfloat16 ({mode})", f"{self.soc_version} has no bfloat16 ({mode})")
        if "hif8" in mode and not has_hifloat8(self.soc_version):
            raise wrong(f"{self.soc_version} 不支持 hifloat8 ({mode})", f"{self.soc_version} has no hifloat8 ({mode})")
        if self.modify_mixlist is not None and mode not in _MIXED_MODES:
            raise wrong(f"modify_mixlist 需要混合精度模式: {', '.join(_MIXED_MODES)}",
                        f"modify_mixlist needs a mixed precision mode: {', '.join(_MIXED_MODES)}")
        if self.keep_dtype is not None and mode in _ORIGINAL_MODES:
            raise wrong(f"{mode} 下 keep_dtype 不生效", f"keep_dtype has no effect with {mode}")
        return self

    @model_validator(mode="after")
    def _files_and_options_agree(self) -> Self:
        extra = self.extra_params
        for name, other in _EXCLUDED:
            if getattr(self, name) is not None and getattr(extra, other) not in (None, "false"):
                raise excluded(name, other)
        if len(extra.gears()) > max_gears(self.soc_version):
            raise wrong(f"{self.soc_version} 最多支持 {max_gears(self.soc_version)} 个档位",
                        f"{self.soc_version} takes {max_gears(self.soc_version)} gears at most")
        if extra.input_shape_range is not None and not takes_shape_ranges(self.soc_version):
            raise wrong(f"{self.soc_version} 不支持设置 shape 范围", f"{self.soc_version} takes no ranges of shapes")
        return self

    @model_validator(mode="after")
    def _nothing_simulates_it(self) -> Self:
        if self.verify.min_cosine is not None:
            raise wrong("CANN 没有 .om 的仿真器, 无法检查精度: 请去掉 verify.min_cosine",
                        "CANN has no simulator for .om, so no accuracy can be checked: leave out verify.min_cosine")
        return self


def _put_once(values: dict[str, Any], name: str, value: Any, where: str) -> None:
    if values.get(name, value) != value:
        raise wrong(f"{name} 与 {where} 不一致", f"{name} and {where} differ")
    values[name] = value


PLATFORM = Platform(
    name="huawei",
    title="Huawei Ascend NPU (CANN ATC, .om)",
    task_types=("onnx_to_om",),
    parameters=HuaweiParameters,
    artefact_suffix=".om",
    featured=True,
    example={"soc_version": "Ascend310P3", "input_shape": "1,3,480,480", "precision_mode": "allow_fp32_to_fp16"},
)
