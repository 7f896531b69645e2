"""Whether a changed model still answers as the one before the change, in ONNX Runtime without its own optimisations.

Every pass over a model is tried so before a compiler sees what it made. NumPy, onnx and onnxruntime only.
"""
from worker.stage_api import is_out_of_memory, log
from worker.stages.divisors import mark_divisors
from worker.stages.samples import make_inputs

_SAMPLES = (("picture", 0), ("noise", 1))
# What rounding in another order may do to a value: a share of itself and of the output's greatest magnitude. A softmax
# behind a normalisation of nearly equal values moves by 3 %.
_OF_ITSELF, _OF_GREATEST, _NEGLIGIBLE = 5e-2, 1e-5, 1e-7
# The share of values that may differ by more: PP-OCRv4's detector has 0.0002 on noise, other networks and samples none.
# One channel of 256 is twice as many as are allowed. Classes and indices beside an edge fall to the other side.
_MAX_SHARE, _MAX_SHARE_OF_WHOLE_NUMBERS = 0.002, 0.01


def find_difference(before, after, inputs, threads, adapt=lambda entry, array: array):
    """What differs, as a text for the log; None where nothing does, or where the model before cannot be run at all.

    `before` and `after` are paths, `inputs` the `{name, dtype, shape}` that both take; what `after` takes is given to
    `before` as `adapt(entry, array)` makes it.
    """
    try:
        first = _open(before, threads)
    except Exception as error:  # ONNX Runtime's errors share no base class
        return _not_tried(error)
    second, inputs = None, mark_divisors(before, inputs)
    for kind, seed in _SAMPLES:
        raw = make_inputs(inputs, kind, seed)
        feed = {entry["name"]: adapt(entry, raw[entry["name"]]) for entry in inputs}
        try:
            expected = first.run(None, _taken(first, feed))
        except Exception as error:
            _not_tried(error)
            continue
        try:
            second = second or _open(after, threads)
            given = second.run(None, _taken(second, raw))
        except Exception as error:
            if is_out_of_memory(error):
                raise MemoryError(str(error)[:600]) from error
            return f"the changed model does not run: {str(error)[:300]}"
        names = [value.name for value in first.get_outputs()]
        found = _compare(names, expected, given)
        if found and not _compare(names, expected, first.run(None, _taken(first, feed))):  # else it answers at random
            return found
    return None


def _not_tried(error):
    if is_out_of_memory(error):
        raise MemoryError(str(error)[:600]) from error
    log(f"the model before the change does not run, nothing is compared: {str(error)[:300]}")


def _taken(session, feed):
    return {value.name: feed[value.name] for value in session.get_inputs()}


def _compare(names, expected, given):
    import numpy as np

    if len(expected) != len(given):
        return f"{len(given)} outputs instead of {len(expected)}"
    for name, a, b in zip(names, map(np.asarray, expected), map(np.asarray, given)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {name!r} is {b.dtype} {list(b.shape)} instead of {a.dtype} {list(a.shape)}"
        share = _share_of_others(a.ravel(), b.ravel())
        if share > (_MAX_SHARE if a.dtype.kind in "fc" else _MAX_SHARE_OF_WHOLE_NUMBERS):
            return f"output {name!r}: {share:.1%} of its values differ"
    return None


def _share_of_others(a, b):
    """The share of values that differ by more than rounding may do."""
    import numpy as np

    if a.size == 0:
        return 0.0
    if a.dtype.kind not in "fc":
        return float(np.mean(a != b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    greatest = float(np.abs(a).max(initial=0, where=finite))
    with np.errstate(invalid="ignore"):
        near = np.abs(a - b) <= _OF_ITSELF * np.abs(a) + _OF_GREATEST * greatest + _NEGLIGIBLE
    same = np.where(finite, near, (a == b) | (np.isnan(a) & np.isnan(b)))
    return float(np.mean(~same))


def _open(path, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
