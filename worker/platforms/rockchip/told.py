"""What an artefact is, read off its description and the compiler's tables, never off what was asked for."""


def read_precision(layers, stored):
    """`int8`, `int16` or `fp16`. `layers` are the types that the layers compute in, `stored` those of the constants.

    A model that was quantised before it came is INT8 whatever was asked for. With weights of 8 or 4 bits and
    activations of 16 (w8a16, w4a16) it counts as INT8, as the parameter does.
    """
    if "int16" in layers and "int16" in stored:
        return "int16"
    return "int8" if {"int4", "int8"} & ({*layers} | {*stored}) else "fp16"


def with_types(described, edges):
    """`described` (see `artefact.read_description`) with the compiler's types for what is not quantized.

    The table lists inputs and outputs in the description's order. A table of another length says nothing; the type is
    then left open.
    """
    for kind, entries in described.items():
        types = edges[kind] if len(edges[kind]) == len(entries) else [""] * len(entries)
        for entry, dtype in zip(entries, types):
            entry["dtype"] = entry["dtype"] or dtype or "unknown"
    return described
