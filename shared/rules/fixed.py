"""Inputs that the client has fixed (`fixed_inputs`): whether the values fit the model's inputs, and their shapes.

A single value fills the whole input; lists have the input's shape. Standard library only.
"""
from shared.rules.reasons import fixed as reasons
from shared.rules.shapes import choose_shapes

_FLOATS = ("float", "float16", "double")
_INTEGERS = {f"{sign}int{bits}": (0, 1 << bits) if sign else (-(1 << bits - 1), 1 << bits - 1)
             for sign in ("", "u") for bits in (8, 16, 32, 64)}  # the least value, and one more than the greatest
_MAX_SHOWN = 40


def split_fixed(inputs, fixed, wanted, auto):
    """`(the inputs that remain, {fixed input: its dimensions})`.

    `inputs` are the facts of inspect, `fixed` is `{name: value}`; `wanted` and `auto` as for `choose_shapes`.

    Raises:
        Refusal: `fixed_input_mismatch`; `dynamic_shape` and `input_shape_mismatch` for a single value whose input is
            open.
    """
    known = {entry["name"]: entry for entry in inputs}
    for name in fixed:
        if name not in known:
            raise reasons.UNKNOWN_INPUT(name=name, names=", ".join(known))
    remaining = [entry for entry in inputs if entry["name"] not in fixed]
    if fixed and not remaining:
        raise reasons.ALL_FIXED(names=", ".join(known))
    return remaining, {name: _fit(known[name], value, wanted, auto) for name, value in fixed.items()}


def unfixed(wanted, fixed):
    """The shapes that were asked for, without those of fixed inputs."""
    return {name: dims for name, dims in wanted.items() if name not in fixed}


def dimensions_of(value):
    """The dimensions of nested lists, `[]` for a single value; None where lists differ in length, are empty, or hold
    something else than numbers and bool."""
    if not isinstance(value, list):
        return [] if isinstance(value, (bool, int, float)) else None
    inner = [dimensions_of(item) for item in value]
    if not inner or any(dims is None or dims != inner[0] for dims in inner):
        return None
    return [len(value), *inner[0]]


def _fit(entry, value, wanted, auto):
    """The dimensions that the fixed input has."""
    name, declared = entry["name"], entry["shape"]
    for item in _items(value):
        _check_type(entry, item)
    if not isinstance(value, list):
        asked = {name: wanted[name]} if name in wanted else {}
        return choose_shapes([entry], asked, auto)[0][name]
    dims = dimensions_of(value)
    fits = declared is None or (len(declared) == len(dims) and all(
        not isinstance(have, int) or have == dims[axis] for axis, have in enumerate(declared)))
    if not fits:
        shown = [dim if isinstance(dim, int) else "?" for dim in declared]
        raise reasons.OTHER_SHAPE(name=name, declared=_text(shown), dims=_text(dims))
    return dims


def _items(value):
    if not isinstance(value, list):
        yield value
        return
    for item in value:
        yield from _items(item)


def _check_type(entry, value):
    dtype = entry["dtype"]
    if dtype == "bool":
        fits = isinstance(value, bool)
    elif dtype in _FLOATS:
        fits = not isinstance(value, bool)
    elif dtype in _INTEGERS:
        least, beyond = _INTEGERS[dtype]
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value < beyond
    else:
        raise reasons.NOT_FIXABLE(name=entry["name"], dtype=dtype)
    if not fits:
        raise reasons.OTHER_TYPE(name=entry["name"], dtype=dtype, value=str(value)[:_MAX_SHOWN])


def _text(dims):
    return "[" + ", ".join(map(str, dims)) + "]"
