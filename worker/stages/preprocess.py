"""Preprocessing that is baked into an artefact: it takes raw values `x`, the model gets `(x - mean) / std`. NumPy only.

`parameters` are a stage's; what they mean for an input is decided in `shared.rules.preprocessing`.
"""
from shared.rules.preprocessing import channel_axis, check, constants

__all__ = ["channel_axis", "check", "constants", "to_model", "to_raw"]


def to_model(parameters, entry, raw):
    """What the model gets of raw values."""
    return _apply(parameters, entry, raw, lambda x, mean, std: (x - mean) / std)


def to_raw(parameters, entry, values):
    """The raw values of which the model gets `values`."""
    return _apply(parameters, entry, values, lambda x, mean, std: x * std + mean)


def _apply(parameters, entry, array, function):
    import numpy as np

    found = constants(parameters, entry)
    if found is None:
        return array
    shape = [1] * array.ndim
    shape[channel_axis(entry["shape"])] = -1
    mean, std = (np.asarray(values, np.float32).reshape(shape) for values in found)
    return function(array.astype(np.float32), mean, std).astype(array.dtype, copy=False)
