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
from worker.stages.asked import open_before, set_inputs
from worker.stages.calibration_files import load_array, load_image, unpack
from worker.stages.set_values import SetValues

_MAX_SAMPLES = 10_000


def run(job):
    """Writes NNNNN_I.npy: sample N, input I, in the input's static shape and dtype.

    Facts: `samples` (the files of each), `quantize` (indices for the quantizer), `verify` (indices for the accuracy
    check; held out from the quantizer where the set has enough), `ranges` ({input: [least, greatest]}), `moments`
    ({input: [mean, standard deviation]}), `images` (the inputs that got any), `warnings`. The set is one of the model's
    own inputs. If the model is cut and begins inside, the samples are what its inputs get then.

    Raises:
        StageError: `calibration_invalid`: names the file and what is wrong with it; or the set tells a quantizer
            nothing, which a client may accept with what comes of it (`accept_accuracy`).
    """
    inputs, optimized = set_inputs(job), job["inputs"]["optimize"]["facts"]
    root, samples = find_samples(job["inputs"]["calibration_files"], "calibration", inputs)
    begins_inside = "sent_inputs" in optimized
    values, inside = SetValues(inputs), SetValues(optimized["inputs"] if begins_inside else [])

    def look(arrays, from_images, reached):
        values.add(arrays, from_images)
        if begins_inside:
            inside.add(reached, [False] * len(reached))

    written = write_samples(job, root, samples, look)
    problem = values.problem()
    if problem and not job["parameters"].get("accept_accuracy"):
        raise problem
    quantize, held_out = _split(len(samples), job["parameters"]["verify"])
    return {"samples": written, "quantize": quantize, "verify": held_out, "ranges": {**values.ranges, **inside.ranges},
            "moments": values.moments(),
            "images": [item["name"] for index, item in enumerate(inputs)
                       if any(rules.suffix(sample[index]) in rules.IMAGES for sample in samples)],
            "warnings": values.warnings() + ([problem.message] if problem else [])}


def find_samples(entry, parameter, inputs):
    """`(folder, the files of each sample below it in the order of the inputs)` of the set that a parameter names;
    `entry` is that of the stage that has brought its files.

    Raises:
        StageError: `calibration_invalid`.
    """
    root = os.path.join(entry["dir"], parameter)
    names = rules.kept(entry["facts"][parameter])
    if len(names) == 1 and names[0].lower().endswith(".zip"):
        root, names = unpack(os.path.join(root, names[0]), "unpacked")
    common = rules.common_folder(names, [item["name"] for item in inputs])
    root, names = os.path.join(root, common), [name[len(common):] for name in names]
    samples = _group(root, sorted(names), inputs)
    rules.check_total(len(samples), inputs)
    return root, samples


def write_samples(job, root, samples, look=lambda arrays, from_images, reached: None):
    """The names of the written arrays of each sample: NNNNN_I.npy, sample N, input I. `look` sees each sample's arrays,
    for each whether a picture's file was read, and what is written: of a model that begins inside, what its inputs get.

    Raises:
        StageError: `calibration_invalid`.
    """
    import numpy as np

    inputs, before = set_inputs(job), open_before(job)[1]
    own, written = [item["name"] for item in inputs], []
    kept = [own.index(item["name"]) for item in job["inputs"]["optimize"]["facts"]["inputs"]] if not before else []
    for number, sample in enumerate(samples):
        arrays = [_load(root, name, item, job["parameters"]["channel_order"]) for name, item in zip(sample, inputs)]
        reached = before.run(dict(zip(own, arrays))) if before else [arrays[index] for index in kept]
        look(arrays, [rules.suffix(name) in rules.IMAGES for name in sample], reached)
        written.append([f"{number:05d}_{index}.npy" for index in range(len(reached))])
        for file, array in zip(written[-1], reached):
            np.save(os.path.join(job["output_dir"], file), array, allow_pickle=False)
        report(100 * (number + 1) / len(samples), f"{number + 1} of {len(samples)} samples")
    return written


def _split(count, verify):
    """The indices for the quantizer and those for the accuracy check, which are spread over the set."""
    chosen = spread(count, verify["samples"])
    held_out = verify["enabled"] and count >= 4 * len(chosen)
    return [number for number in range(count) if not held_out or number not in chosen], chosen


def spread(count, wanted):
    """So many indices of `count`, all over: names often sort by class."""
    return sorted({number * count // wanted for number in range(wanted)})


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
