"""Qualcomm Hexagon NPUs through ONNX Runtime's QNN compiler: an EPContext model with its context binary beside it.

Options and their values are those of the QNN execution provider (its documentation, "EP Provider Options") and of
`get_qnn_qdq_config` under the same names.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.platforms.base import Automatic, Platform, Preprocessing, Quantized
from shared.platforms.candidates import AUTO, Candidate
from shared.platforms.conditions import TEXT, Schema, none_of, one_of, when
from shared.platforms.qualcomm_chips import CHIPS, PART_NUMBERS
from shared.schema import wrong

if TYPE_CHECKING:
    ChipName = str
else:  # two spellings of one chip are one and the same result in the cache
    ChipName = Annotated[Literal[tuple(PART_NUMBERS)], AfterValidator(PART_NUMBERS.__getitem__)]


class QualcommParameters(Preprocessing, Quantized, Automatic):
    """A context binary for one chip. Floating point is FP16: the tensor processor has no other."""

    only_quantized: ClassVar[tuple[str, ...]] = (
        "calibrate_method", "per_channel", "weight_type", "mixed_precision", "offload_graph_io_quantization")
    candidates: ClassVar[tuple[Candidate, ...]] = (
        Candidate("int8", "int8", {"mixed_precision": False}),
        Candidate("int8-percentile", "int8", {"mixed_precision": False, "calibrate_method": "Percentile"}),
        Candidate("int8-entropy", "int8", {"mixed_precision": False, "calibrate_method": "Entropy"}),
        Candidate("int8-mixed", "int8"),
        Candidate("int16", "int16"),
        Candidate("int16-w16", "int16", {"weight_type": "QInt16"}),
        Candidate("fp16", "fp16"),
    )

    chip: ChipName = Field(description="part number or name in the shops", examples=["SM8650", "Snapdragon 8 Gen 3"])
    precision: Literal["auto", "fp16", "int8", "int16"] = Field(
        "fp16", description="int8: weights and activations of 8 bits; int16: activations of 16, weights of 8; auto: "
                            "the fastest that the accuracy check passes, of int8 and int16 in several ways (with a "
                            "calibration set) and fp16")
    calibrate_method: Literal["MinMax", "Entropy", "Percentile"] = Field(
        "MinMax", description="how ranges are found; all but MinMax hold every activation of the set in memory")
    per_channel: bool = Field(True, description="a scale for each channel of a convolution's weights, or one for all")
    weight_type: Literal["QUInt8", "QInt8", "QInt16"] = Field(
        "QInt8", description="QInt16, for int16: twice the size, slower, closer to the model")
    mixed_precision: bool = Field(
        True, description="for int8: activations that cost most accuracy get 16 bits; false: none, which is faster")
    htp_graph_finalization_optimization_mode: Literal[0, 1, 2, 3] = Field(
        3, description="0: the compiler's default; 1: fastest to compile; 3: the best graph")
    vtcm_mb: int | None = Field(None, ge=1, description="MiB of the chip's VTCM to plan with; all where left out")
    allow_cpu: bool = Field(False, description="leave to the CPU what the NPU does not take, instead of failing")
    offload_graph_io_quantization: bool = Field(
        False, description="(de)quantize inputs and outputs on the CPU; needs allow_cpu")
    embed: bool = Field(False, description="one file, with the context binary inside the EPContext model")
    simulated_samples: int | None = Field(
        None, ge=1, le=64, description="how many samples of each kind, seeded and of the calibration set, the "
        "simulator runs, where verify has as many; a run may take many seconds. Left out: 1; 3 for a quantized model")

    @classmethod
    def conditions(cls) -> Iterator[Schema]:
        only_quantized = one_of(*(name for name, part in PART_NUMBERS.items() if not CHIPS[part].fp16))
        yield when(cls, {"chip": only_quantized}, {"precision": none_of("fp16"), "calibration": TEXT})
        for size in sorted({chip.vtcm_mb for chip in CHIPS.values()}):
            names = (name for name, part in PART_NUMBERS.items() if CHIPS[part].vtcm_mb == size)
            yield when(cls, {"chip": one_of(*names)}, {"vtcm_mb": {"maximum": size}})
        yield when(cls, {"precision": one_of("fp16")}, {
            name: one_of(cls.model_fields[name].default) for name in cls.only_quantized})
        yield when(cls, {"precision": one_of("int8")}, {"weight_type": none_of("QInt16")})
        # With the others fp16 is left to auto, which offloads nothing.
        for condition in ({"precision": one_of("int8", "int16")}, {"precision": one_of(AUTO), "chip": only_quantized}):
            yield when(cls, condition | {"offload_graph_io_quantization": one_of(True)}, {"allow_cpu": one_of(True)})

    @model_validator(mode="after")
    def _chip_takes_it(self) -> Self:
        chip = CHIPS[self.chip]
        if self.precision == "fp16" and not chip.fp16:
            raise wrong(f"{self.chip} 只运行量化模型: 请使用 precision int8 或 int16",
                        f"{self.chip} runs quantized models only: send precision int8 or int16")
        if self.vtcm_mb is not None and self.vtcm_mb > chip.vtcm_mb:
            raise wrong(f"{self.chip} 的 VTCM 只有 {chip.vtcm_mb} MiB", f"{self.chip} has {chip.vtcm_mb} MiB of VTCM")
        return self

    @model_validator(mode="after")
    def _options_have_an_effect(self) -> Self:
        """What the compiler would ignore without a word."""
        if self.precision == AUTO:  # each candidate is held to it
            return self
        if self.precision == "fp16":
            for name in self.only_quantized:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise wrong(f"{name} 需要 precision int8 或 int16", f"{name} needs precision int8 or int16")
        if self.weight_type == "QInt16" and self.precision != "int16":
            raise wrong("weight_type QInt16 需要 precision int16", "weight_type QInt16 needs precision int16")
        if self.offload_graph_io_quantization and not self.allow_cpu:
            raise wrong("offload_graph_io_quantization 需要 allow_cpu",
                        "offload_graph_io_quantization needs allow_cpu: it moves operators to the CPU")
        return self


PLATFORM = Platform(
    name="qualcomm",
    title="Qualcomm Hexagon NPU (QNN context binary)",
    task_types=("onnx_to_qnn",),
    parameters=QualcommParameters,
    artefact_suffix="_ctx.onnx",
    constant_outputs=False,
    example={"chip": "SM8650", "input_shape": "1,3,480,480", "precision": "fp16"},
    also=("_qnn.bin",),
    # A Cast of int8 is refused. One of uint8 to FP16 gives other numbers on the simulator: cosine 0.9 to 0.95.
    no_casts_of={"fp16": ("uint8", "int8"), "int8": ("int8",), "int16": ("int8",)},
)
