"""Whether outputs are those that a test expects: value by value, with the tolerance of the precision."""
from __future__ import annotations

import numpy as np

# FP16 has eleven bits; a few operations in a row lose some of them.
_RELATIVE, _OF_THE_GREATEST = 2e-2, 4e-3


def difference(expected: dict[str, np.ndarray], got: list[np.ndarray]) -> str:
    """What is wrong, "" for nothing."""
    if len(got) != len(expected):
        return f"{len(got)} outputs instead of {len(expected)}"
    for (name, wanted), actual in zip(expected.items(), got, strict=True):
        if squeezed(wanted) != squeezed(actual):
            return f"{name}: shape {list(actual.shape)} instead of {list(wanted.shape)}"
        wrong = np.count_nonzero(~_equal(wanted.ravel(), actual.ravel()))
        if wrong:
            return f"{name}: {wrong} of {wanted.size} values ({wanted.dtype}, got {actual.dtype})"
    return ""


def squeezed(array: np.ndarray) -> list[int]:
    return [dim for dim in array.shape if dim != 1]


def _equal(wanted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    if wanted.dtype.kind in "biu":
        return wanted.astype(np.float64) == actual.astype(np.float64)
    a, b = wanted.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(a)
    greatest = np.abs(a[finite]).max(initial=0.0)
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= _RELATIVE * np.abs(a) + _OF_THE_GREATEST * greatest + 1e-7
    return np.where(finite, near, (a == b) | (np.isnan(a) & np.isnan(b)))
