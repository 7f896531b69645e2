"""Which shape each input gets: what the client asked for, then what the model says, then a batch of one."""
from shared.rules.bilingual import join
from shared.rules.reasons import shapes as reasons

ANY_INPUT = ""  # the key of a shape that came without a name


def choose_shapes(inputs, wanted, auto):
    """`({input: dimensions}, warnings)`; the warnings in both languages.

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
            still_open.append(reasons.NO_SHAPE(name=name))
            continue
        shape = list(declared)
        if auto and shape and not isinstance(shape[0], int) and all(isinstance(dim, int) for dim in shape[1:]):
            shape[0] = 1
            warnings.append(reasons.BATCH_OF_ONE(name=name))
        for axis, dim in enumerate(shape):
            if not isinstance(dim, int):
                still_open.append(reasons.OPEN_DIMENSION(name=name, axis=axis, symbol=f" ({dim})" if dim else ""))
        shapes[name] = shape
    if still_open:
        raise reasons.STILL_OPEN(places=join("; ", still_open), hint=_hint(inputs, wanted))
    return shapes, warnings


def _named(inputs, wanted):
    names = [entry["name"] for entry in inputs]
    if ANY_INPUT in wanted:
        if len(inputs) != 1:
            raise reasons.NO_NAME(count=len(inputs), names=", ".join(names), hint=_hint(inputs, {}))
        return {names[0]: wanted[ANY_INPUT]}
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise reasons.UNKNOWN_NAMES(unknown=", ".join(map(repr, unknown)), names=", ".join(names),
                                    hint=_hint(inputs, {}))
    return wanted


def _fit(name, declared, dims):
    if declared is not None:
        if len(declared) != len(dims):
            raise reasons.OTHER_RANK(name=name, rank=len(declared), count=len(dims), dims=_text(dims),
                                     declared=_text(declared))
        for axis, have in enumerate(declared):
            if isinstance(have, int) and have != dims[axis]:
                raise reasons.OTHER_DIMENSION(name=name, axis=axis, have=have, wanted=dims[axis],
                                              declared=_text(declared))
    return list(dims)


def _text(dims):
    return ",".join("?" if dim is None else str(dim) for dim in dims)


def _hint(inputs, wanted):
    """An `input_shape` that would do: the model's dimensions, 1 for an open batch, 224 for other open ones."""
    parts = []
    for entry in inputs:
        dims = wanted.get(entry["name"]) or entry["shape"] or [1, 3, 224, 224]
        filled = [dim if isinstance(dim, int) else 224 if axis else 1 for axis, dim in enumerate(dims)]
        parts.append(f"{entry['name']}:{_text(filled)}")
    return reasons.EXAMPLE(example=";".join(parts))
