"""The inputs of the accuracy check: seeded ones, samples of the calibration set, or the client's own."""
from worker.stages import calibration, preprocess
from worker.stages.samples import make_inputs

CALIBRATION = "calibration"  # the kind of a sample that is one of the calibration set's
OWN = "own"  # and of one that is the client's test input
OWN_INPUTS = "verify_inputs"  # the stage that has these


def describe_sample(inputs, kind, seed, calibration_entry=None):
    """`{kind, seed}`, and for a seeded sample beside a calibration set `affine`: {input: [scale, offset]}, which gives
    an input of floating-point numbers the set's mean and spread.

    They are told, and not computed again where the sample is made again: another NumPy adds up in another order.
    """
    sample = {"kind": kind, "seed": seed}
    moments = calibration_entry["facts"].get("moments", {}) if calibration_entry else {}
    if kind in (CALIBRATION, OWN) or not moments:
        return sample
    made, affine = make_inputs(inputs, kind, seed), {}
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
    feed = make_inputs(inputs, sample["kind"], sample["seed"])
    ranges = calibration_entry["facts"]["ranges"] if calibration_entry else {}
    for entry in inputs:
        name, (least, greatest) = entry["name"], ranges.get(entry["name"], (0.0, 0.0))
        if greatest <= least:  # no set, or one that says nothing
            feed[name] = preprocess.to_raw(parameters, entry, feed[name])
        elif feed[name].dtype.kind == "f":
            scale, offset = sample.get("affine", {}).get(name, (greatest - least, least))
            feed[name] = (offset + feed[name] * scale).clip(least, greatest).astype(feed[name].dtype)
    return feed
