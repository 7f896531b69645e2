"""Stage: the calibration set, checked and as plain arrays: nothing else ever reaches a tool (some hang on a bad name).

The set is a zip or a tree of `.npy` arrays and images; a folder that all of it lies in does not count. With one input
every file is a sample. With several, each input has a folder of its name, and files of the same name belong together. A
`dataset.txt` at the top, one sample a line with a path for each input, replaces both rules. Values are raw: what the
artefact will be fed with.
"""
import os

from shared.rules import calibration as rules
from shared.rules.bilingual import as_it_is
from shared.rules.reasons import calibration as reasons
from shared.rules.refusal import Unusable
from worker.stage_api import report
from worker.stages.asked import open_before
from worker.stages.calibration_files import load_array, load_image, unpack
from worker.stages.set_values import SetValues

_MAX_SAMPLES = 10_000


def run(job):
    """Writes NNNNN_I.npy: sample N, input I, in the input's static shape and dtype.

    Facts: `samples` (the files of each), `quantize` (indices for the quantizer), `verify` (indices for the accuracy
    check; held out from the quantizer where the set has enough), `ranges` ({input: [least, greatest]}), `images` (the
    inputs that got any), `warnings`. The set is one of the model's own inputs. If the model is cut and begins inside,
    the samples are what its inputs get then.

    Raises:
        StageError: `calibration_invalid`: names the file and what is wrong with it; or the set tells a quantizer
            nothing, which a client may accept with what comes of it (`accept_accuracy`).
    """
    import numpy as np

    entry = job["inputs"]["calibration_files"]
    inputs, before = open_before(job)
    root = os.path.join(entry["dir"], "calibration")
    names = rules.kept(entry["facts"]["calibration"])
    if len(names) == 1 and names[0].lower().endswith(".zip"):
        root, names = unpack(os.path.join(root, names[0]), "unpacked")
    common = rules.common_folder(names, [item["name"] for item in inputs])
    root, names = os.path.join(root, common), [name[len(common):] for name in names]
    samples = _group(root, sorted(names), inputs)
    rules.check_total(len(samples), inputs)
    own = [item["name"] for item in inputs]
    values, inside = SetValues(inputs), SetValues(job["inputs"]["optimize"]["facts"]["inputs"] if before else [])
    written = []
    for number, sample in enumerate(samples):
        arrays = [_load(root, name, item, job["parameters"]["channel_order"]) for name, item in zip(sample, inputs)]
        values.add(arrays, [rules.suffix(name) in rules.IMAGES for name in sample])
        if before:
            arrays = before.run(dict(zip(own, arrays)))
            inside.add(arrays, [False] * len(arrays))
        written.append([f"{number:05d}_{index}.npy" for index in range(len(arrays))])
        for file, array in zip(written[-1], arrays):
            np.save(os.path.join(job["output_dir"], file), array, allow_pickle=False)
        report(100 * (number + 1) / len(samples), f"{number + 1} of {len(samples)} samples")
    problem = values.problem()
    if problem and not job["parameters"].get("accept_accuracy"):
        raise problem
    quantize, held_out = _split(len(samples), job["parameters"]["verify"])
    return {"samples": written, "quantize": quantize, "verify": held_out, "ranges": {**values.ranges, **inside.ranges},
            "images": [item["name"] for index, item in enumerate(inputs)
                       if any(rules.suffix(sample[index]) in rules.IMAGES for sample in samples)],
            "warnings": values.warnings() + ([problem.message] if problem else [])}


def _split(count, verify):
    """The indices for the quantizer and those for the accuracy check. The latter are spread over the set: names often
    sort by class."""
    chosen = sorted({number * count // verify["samples"] for number in range(verify["samples"])})
    held_out = verify["enabled"] and count >= 4 * len(chosen)
    return [number for number in range(count) if not held_out or number not in chosen], chosen


def read(entry, index):
    """The arrays of one sample, in the order of the inputs; `entry` is the stage's input entry."""
    import numpy as np

    return [np.load(os.path.join(entry["dir"], file), allow_pickle=False) for file in entry["facts"]["samples"][index]]


def _group(root, names, inputs):
    """The files of each sample, in the order of the inputs."""
    if rules.LIST not in names:
        return rules.group(names, [item["name"] for item in inputs])
    samples = _listed(os.path.join(root, rules.LIST), set(names), len(inputs))
    if not samples:
        raise rules.no_sample()
    return samples


def _listed(path, names, count):
    samples = []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(map(str.strip, file), 1):
            if not line:
                continue
            whole = count == 1 and os.path.normpath(line) in names  # a name with spaces in it
            parts = [os.path.normpath(part) for part in ([line] if whole else line.split())]
            missing = [part for part in parts if part not in names]
            if missing:
                raise reasons.NOT_IN_SET(list=rules.LIST, line=number, name=missing[0][:200])
            if len(parts) != count:
                raise reasons.OTHER_COUNT(list=rules.LIST, line=number, count=len(parts), inputs=count)
            if len(samples) == _MAX_SAMPLES:
                raise reasons.TOO_MANY_LISTED(list=rules.LIST, limit=_MAX_SAMPLES)
            samples.append(parts)
    return samples


def _load(root, name, item, channel_order):
    path = os.path.join(root, name)
    try:
        if rules.suffix(name) == ".npy":
            return load_array(path, item)
        if rules.suffix(name) in rules.IMAGES:
            return load_image(path, item, channel_order or "rgb")
    except Unusable as error:
        raise rules.bad_file(name, error.text) from error
    except ValueError as error:  # of NumPy or Pillow
        raise rules.bad_file(name, as_it_is(error)) from error
    raise rules.neither(name)
