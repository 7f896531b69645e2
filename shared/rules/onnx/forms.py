"""Forms of ONNX's operators: what a target may refuse of an operator that it takes otherwise.

A form is told by an attribute, as `mode = cubic` or `dilations, 2D`, by how many outputs there are, or by an input that
is there, as `input P`. Only those are read that some target is known to refuse: a model may have a million nodes.
"""
from __future__ import annotations

from collections.abc import Sequence

from shared.rules.models import STANDARD
from shared.rules.onnx.wire import BYTES, VARINT, Source, signed

_NAME, _INTEGER, _TEXT, _INTEGERS = 1, 3, 4, 8  # fields of AttributeProto
_MAX_DIMS = 8
_ATTRIBUTES = {
    "ArgMax": ("select_last_index",), "ArgMin": ("select_last_index",),
    "Attention": ("softmax_precision",), "AveragePool": ("dilations",), "Cast": ("to",),
    "ConvTranspose": ("dilations", "auto_pad"), "GatherND": ("batch_dims",), "GridSample": ("mode",),
    "LpNormalization": ("p",), "MaxPool": ("dilations", "kernel_shape"), "Mod": ("fmod",),
    "RMSNormalization": ("axis",),
    "Resize": ("antialias", "exclude_outside", "keep_aspect_ratio_policy"), "ScatterElements": ("reduction",),
    "SpaceToDepth": ("mode",), "ScatterND": ("reduction",)}
_ALWAYS = ("kernel_shape",)  # the others are told where a value is not 1
_OUTPUTS = ("Dropout", "LayerNormalization", "MaxPool")
_INPUTS = {"Attention": (6, "nonpad_kv_seqlen"), "LSTM": (7, "P")}


def read_forms(source: Source, operator: tuple[str, str], attributes: Sequence[tuple[int, int]],
               inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """Those of a node; `attributes` are the places of its AttributeProtos.

    Raises:
        Malformed, Incomplete. Refusal: `model_too_complex`, `model_invalid`.
    """
    domain, name = operator
    if domain not in STANDARD:
        return ()
    forms = []
    if name in _OUTPUTS:
        forms.append(f"outputs = {sum(map(bool, outputs))}")
    index, called = _INPUTS.get(name, (0, ""))
    if called and len(inputs) > index and inputs[index]:
        forms.append(f"input {called}")
    wanted = _ATTRIBUTES.get(name, ())
    for first, last in attributes if wanted else ():
        form = _read(source, wanted, first, last)
        if form:
            forms.append(form)
    return tuple(forms)


def _read(source: Source, wanted: Sequence[str], first: int, last: int) -> str:
    name, value, dims = "", "", []
    for number, kind, inner, end in source.fields(first, last):
        if number == _NAME and kind == BYTES:
            name = source.text(inner, end)
        elif number == _INTEGER and kind == VARINT:
            value = str(signed(inner))
        elif number == _TEXT and kind == BYTES and end - inner <= 64:
            value = source.text(inner, end)
        elif number == _INTEGERS and len(dims) < _MAX_DIMS:
            dims += source.integers(kind, inner, end)
    if name not in wanted:
        return ""
    if dims:
        return f"{name}, {len(dims)}D" if name in _ALWAYS or any(dim != 1 for dim in dims) else ""
    return f"{name} = {value}"
