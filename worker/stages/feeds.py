"""The inputs of the accuracy check: seeded ones, or samples of the calibration set."""
from worker.stages import calibration, preprocess
from worker.stages.samples import make_inputs

CALIBRATION = "calibration"  # the kind of a sample that is one of the calibration set's


def raw_inputs(inputs, sample, parameters, calibration_entry=None):
    """What the artefact is fed with, `{name: array}`; `preprocess.to_model` makes of it what the model is fed with.

    `sample` is `{kind, seed}`; for the kind `calibration` the seed is the sample's index there. With a calibration set
    seeded inputs are stretched to its range: a quantized model knows nothing beyond it.
    """
    if sample["kind"] == CALIBRATION:
        arrays = calibration.read(calibration_entry, sample["seed"])
        return {entry["name"]: array for entry, array in zip(inputs, arrays)}
    feed = make_inputs(inputs, sample["kind"], sample["seed"])
    ranges = calibration_entry["facts"]["ranges"] if calibration_entry else {}
    for entry in inputs:
        name, (least, greatest) = entry["name"], ranges.get(entry["name"], (0.0, 0.0))
        if greatest <= least:  # no set, or one that says nothing
            feed[name] = preprocess.to_raw(parameters, entry, feed[name])
        elif feed[name].dtype.kind == "f":
            feed[name] = (least + feed[name] * (greatest - least)).astype(feed[name].dtype)
    return feed
