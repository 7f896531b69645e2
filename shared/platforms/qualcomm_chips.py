"""Snapdragon, Dragonwing and automotive chips with a Hexagon tensor processor (HTP), by part number.

Part numbers: `Qnn_SocModel_t` in QnnTypes.h of the QAIRT SDK, and the SoC table that Qualcomm maintains in ExecuTorch's
QNN backend. The facts are those of the compiler itself (onnxruntime-qnn 2.7.0, QAIRT 2.51), found by compiling for each
chip: the VTCM as it stands in the context binary, and whether it takes floating point at all. They agree with
ExecuTorch's table for every chip that it lists.
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """`vtcm_mb` is the size of the tensor processor's own memory; without `fp16` it takes quantized models alone."""

    vtcm_mb: int
    names: tuple[str, ...] = ()  # in the shops
    fp16: bool = True


CHIPS = {
    # phones and tablets
    "SM6450": Chip(2, ("Snapdragon 6 Gen 1",), fp16=False),
    "SM6475": Chip(2, ("Snapdragon 6 Gen 3",), fp16=False),
    "SM6650": Chip(2, ("Snapdragon 6 Gen 4",), fp16=False),
    "SM7325": Chip(2, ("Snapdragon 778G",), fp16=False),
    "SM7435": Chip(2, ("Snapdragon 7s Gen 2",), fp16=False),
    "SM7450": Chip(2, ("Snapdragon 7 Gen 1",)),
    "SM7475": Chip(4, ("Snapdragon 7+ Gen 2",), fp16=False),
    "SM7550": Chip(2, ("Snapdragon 7 Gen 3",), fp16=False),
    "SM7635": Chip(2, ("Snapdragon 7s Gen 3",), fp16=False),
    "SM7675": Chip(4, ("Snapdragon 7+ Gen 3",), fp16=False),
    "SM7750": Chip(4, ("Snapdragon 7 Gen 4",), fp16=False),
    "SM8350": Chip(4, ("Snapdragon 888",)),
    "SM8450": Chip(8, ("Snapdragon 8 Gen 1",)),
    "SM8475": Chip(8, ("Snapdragon 8+ Gen 1",)),
    "SM8550": Chip(8, ("Snapdragon 8 Gen 2",)),
    "SM8635": Chip(4, ("Snapdragon 8s Gen 3",), fp16=False),
    "SM8650": Chip(8, ("Snapdragon 8 Gen 3",)),
    "SM8735": Chip(8, ("Snapdragon 8s Gen 4",), fp16=False),
    "SM8750": Chip(8, ("Snapdragon 8 Elite",)),
    "SM8845": Chip(8, ("Snapdragon 8 Gen 5",)),
    "SM8850": Chip(8, ("Snapdragon 8 Elite Gen 5",)),
    # computers
    "SC8280XP": Chip(4, ("Snapdragon 8cx Gen 3",), fp16=False),
    "SC8380XP": Chip(8, ("Snapdragon X Elite",)),
    "SC8480XP": Chip(8, ("Snapdragon X2 Elite",)),
    # headsets, glasses and watches
    "SAR2230P": Chip(4, fp16=False),
    "SSG2115P": Chip(2, ("Snapdragon AR2 Gen 1",), fp16=False),
    "SSG2125P": Chip(2, fp16=False),
    "SW6100": Chip(4, fp16=False),
    "SXR1230P": Chip(2, fp16=False),
    "SXR2230P": Chip(8, ("Snapdragon XR2 Gen 2",)),
    "SXR2330P": Chip(8),
    # embedded
    "QCM6490": Chip(2, ("QCS6490",), fp16=False),
    "QCS8300": Chip(8),
    "QCS8550": Chip(8),
    "QCS9100": Chip(8),
    # cars
    "SA8255": Chip(8),
    "SA8295": Chip(8),
    "SA8540": Chip(8),
    "SA8620P": Chip(8),
    "SA8797": Chip(16),
}

PART_NUMBERS = {name: part for part, chip in CHIPS.items() for name in (part, *chip.names)}
