"""Whether mean and std mean something for a model's inputs.

`parameters` are a task's or a stage's; `mean` and `std` are None, a list with a number a channel, or `{input: list}`.
"""
from shared.rules.reasons import preprocessing as reasons

_FLOATS = ("float", "float16", "double")


def constants(parameters, entry):
    """`(mean, std)` of an input as lists of its channels' length, or None where nothing is done to it.

    `entry` is the input's `{name, dtype, shape}` with static shape. A plain list is for every input that is an image of
    floating-point numbers, by its shape.

    Raises:
        StageError: `preprocessing_mismatch`: the lists do not fit the input's channels.
    """
    mean, std = (_for_input(parameters.get(kind), entry["name"]) for kind in ("mean", "std"))
    if mean is None and std is None:
        return None
    axis = channel_axis(entry["shape"])
    if axis is None or entry["dtype"] not in _FLOATS:
        if any(entry["name"] in parameters[kind] for kind in _named(parameters)):
            raise reasons.NOT_AN_IMAGE(name=entry["name"], dtype=entry["dtype"], shape=entry["shape"])
        return None
    channels = entry["shape"][axis]
    for kind, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            raise reasons.OTHER_CHANNELS(kind=kind, count=len(values), name=entry["name"], channels=channels)
    return mean or [0.0] * channels, std or [1.0] * channels


def check(parameters, inputs):
    """See that mean and std mean something for these inputs: what nothing reads was a mistake.

    Raises:
        StageError: `preprocessing_mismatch`.
    """
    names = [entry["name"] for entry in inputs]
    for kind in _named(parameters):
        unknown = sorted(set(parameters[kind]) - set(names))
        if unknown:
            raise reasons.UNKNOWN_INPUT(kind=kind, name=unknown[0], names=", ".join(names))
    used = [constants(parameters, entry) for entry in inputs]
    if not any(used) and any(parameters.get(kind) for kind in ("mean", "std")):
        raise reasons.NO_IMAGE()


def channel_axis(shape):
    """Where the channels of an image's shape are: 1 for [N, C, H, W], 3 for [N, H, W, C], None for another shape."""
    if len(shape) != 4:
        return None
    if shape[1] in (1, 3, 4):
        return 1
    return 3 if shape[3] in (1, 3, 4) else 1


def _named(parameters):
    """Those of mean and std that are given by the inputs' names."""
    return [kind for kind in ("mean", "std") if isinstance(parameters.get(kind), dict)]


def _for_input(values, name):
    return values.get(name) if isinstance(values, dict) else values
