"""The inputs of the accuracy check: seeded ones, samples of the calibration set, or the client's own."""
from worker.stages import calibration, preprocess
from worker.stages.samples import make_inputs, numpy_dtype

CALIBRATION = "calibration"  # the kind of a sample that is one of the calibration set's
OWN = "own"  # and of one that is the client's test input
OWN_INPUTS = "verify_inputs"  # the stage that has these


def describe_sample(inputs, kind, seed, calibration_entry=None):
    """`{kind, seed}`, and for a seeded sample beside a calibration set `affine`: {input: [scale, offset]}, which gives
    an input of numbers the set's mean and spread.

    They are told, and not computed again where the sample is made again: another NumPy adds up in another order.
    """
    sample = {"kind": kind, "seed": seed}
    moments = calibration_entry["facts"].get("moments", {}) if calibration_entry else {}
    if kind in (CALIBRATION, OWN) or not moments:
        return sample
    made, affine = _make(inputs, kind, seed, calibration_entry), {}
    for entry in inputs:
        mean, deviation = moments.get(entry["name"], (0.0, 0.0))
        values = made[entry["name"]]
        if values.dtype.kind == "f" and deviation > 0 and float(values.std()) > 0:
            scale = deviation / float(values.std())
            affine[entry["name"]] = [scale, mean - scale * float(values.mean())]
    return dict(sample, affine=affine) if affine else sample


def raw_inputs(inputs, sample, parameters, calibration_entry=None, own_entry=None):
    """What the artefact is fed with, `{name: array}`; `preprocess.to_model` makes of it what the model is fed with.

    `sample` is what `describe_sample` gives; for the kinds `calibration` and `own` the seed is the sample's index
    there. With a calibration set seeded inputs have its mean and spread, and lie in its range: a quantized model knows
    nothing beyond it.
    """
    if sample["kind"] in (CALIBRATION, OWN):
        arrays = calibration.read(own_entry if sample["kind"] == OWN else calibration_entry, sample["seed"])
        return {entry["name"]: array for entry, array in zip(inputs, arrays)}
    import numpy as np

    feed = _make(inputs, sample["kind"], sample["seed"], calibration_entry)
    for entry in inputs:
        name, (least, greatest), dtype = entry["name"], _range(entry, calibration_entry), numpy_dtype(entry["dtype"])
        if greatest <= least:  # no set, or one that says nothing
            feed[name] = preprocess.to_raw(parameters, entry, feed[name])
        elif dtype.kind in "fiu":
            scale, offset = sample.get("affine", {}).get(name, (greatest - least, least))
            values = np.asarray(offset + feed[name] * scale).clip(least, greatest)
            feed[name] = np.asarray(values if dtype.kind == "f" else values.round()).astype(dtype)
    return feed


def _make(inputs, kind, seed, calibration_entry):
    """The seeded arrays. Where a set tells the range of whole numbers, they are numbers from 0 to 1 for now: without it
    whole numbers are 0 and 1, which are valid anywhere and, of 0 to 255, show nothing."""
    feed = make_inputs(inputs, kind, seed)
    for entry in inputs:
        least, greatest = _range(entry, calibration_entry)
        if greatest > least and numpy_dtype(entry["dtype"]).kind in "iu":
            feed.update(make_inputs([dict(entry, dtype="float")], kind, seed))
    return feed


def _range(entry, calibration_entry):
    ranges = calibration_entry["facts"]["ranges"] if calibration_entry else {}
    return ranges.get(entry["name"], (0.0, 0.0))
