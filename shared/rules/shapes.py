"""Which shape each input gets: what the client asked for, then what the model says, then a batch of one."""
from shared.rules.refusal import Refusal

ANY_INPUT = ""  # the key of a shape that came without a name


def choose_shapes(inputs, wanted, auto):
    """`({input: dimensions}, warnings)`.

    `inputs` are the facts of inspect (open dimensions are a symbol or None), `wanted` is `{name: dimensions}` with
    `ANY_INPUT` for the only input. With `auto` an open first dimension is taken as a batch of one; an inner one is
    never guessed.

    Raises:
        Refusal: `dynamic_shape`, `input_shape_mismatch`.
    """
    wanted = _named(inputs, wanted)
    shapes, warnings, still_open = {}, [], []
    for entry in inputs:
        name, declared = entry["name"], entry["shape"]
        if name in wanted:
            shapes[name] = _fit(name, declared, wanted[name])
            continue
        if declared is None:
            still_open.append(f"input {name!r} has no shape at all")
            continue
        shape = list(declared)
        if auto and shape and not isinstance(shape[0], int) and all(isinstance(dim, int) for dim in shape[1:]):
            shape[0] = 1
            warnings.append(f"input {name!r}: the open batch dimension was set to 1")
        for axis, dim in enumerate(shape):
            if not isinstance(dim, int):
                still_open.append(f"input {name!r} dimension {axis}{f' ({dim})' if dim else ''}")
        shapes[name] = shape
    if still_open:
        raise Refusal("dynamic_shape", "nothing fixes " + "; ".join(still_open), _hint(inputs, wanted))
    return shapes, warnings


def _named(inputs, wanted):
    names = [entry["name"] for entry in inputs]
    if ANY_INPUT in wanted:
        if len(inputs) != 1:
            raise _mismatch(f"input_shape names no input, and the model has {len(inputs)}: {', '.join(names)}",
                            _hint(inputs, {}))
        return {names[0]: wanted[ANY_INPUT]}
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise _mismatch(f"the model has no input {', '.join(map(repr, unknown))}; its inputs: {', '.join(names)}",
                        _hint(inputs, {}))
    return wanted


def _fit(name, declared, dims):
    if declared is not None:
        hint = f"the model's own shape is {_text(declared)}; only its open dimensions can be chosen"
        if len(declared) != len(dims):
            raise _mismatch(f"input {name!r} has {len(declared)} dimensions, input_shape gives it {len(dims)}: "
                            f"{_text(dims)}", hint)
        for axis, have in enumerate(declared):
            if isinstance(have, int) and have != dims[axis]:
                raise _mismatch(f"input {name!r} dimension {axis} is {have} in the model, "
                                f"input_shape says {dims[axis]}", hint)
    return list(dims)


def _mismatch(message, hint):
    return Refusal("input_shape_mismatch", message, hint)


def _text(dims):
    return ",".join("?" if dim is None else str(dim) for dim in dims)


def _hint(inputs, wanted):
    """An `input_shape` that would do: the model's dimensions, 1 for an open batch, 224 for other open ones."""
    parts = []
    for entry in inputs:
        dims = wanted.get(entry["name"]) or entry["shape"] or [1, 3, 224, 224]
        filled = [dim if isinstance(dim, int) else 224 if axis else 1 for axis, dim in enumerate(dims)]
        parts.append(f"{entry['name']}:{_text(filled)}")
    return f"send input_shape, for example \"{';'.join(parts)}\", with the sizes that the model will be used with"
