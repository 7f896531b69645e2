"""Stage: the outputs of the client's own model, by ONNX Runtime on the CPU; artefacts are compared with them.

It runs the model as it was sent (with the inputs fixed and the cuts made that the client asked for), not the optimised
one, so that a mistake of optimize shows as well.
"""
import os
import zipfile

from shared.rules.models import MODEL
from worker.stage_api import report
from worker.stages import reasons
from worker.stages.asked import model_folder, open_before
from worker.stages.calibration import spread
from worker.stages.divisors import mark_divisors
from worker.stages.feeds import CALIBRATION, OWN, OWN_INPUTS, describe_sample, raw_inputs
from worker.stages.joins import find_joined
from worker.stages.looked_into import LookedInto
from worker.stages.messages import raise_if_out_of_memory, tidy
from worker.stages.preprocess import check, constants, to_model
from worker.stages.probabilities import find_probabilities
from worker.stages.samples import EDGES, OUTPUTS, input_name, inputs_digest, make_inputs, output_name

_SEEDED = ("picture", "noise")  # in turn
_MAX_BYTES = 1 << 30  # of all samples together
_LEARNED = 8  # samples of a set whose inner values are looked at, beside those that the gate judges by


def run(job):
    """Writes outputs.npz, see `samples.output_name`. The inputs are made again where they are needed: they are most of
    the bytes, and seeded. Those of a model that begins inside are no such and lie beside the outputs.

    Facts: `skipped`, or `samples` (kind, seed, digest of the raw inputs, how many values are not finite; `affine`, see
    `feeds`), `inputs`, `outputs` (name, dtype, greatest magnitude; `joined`, see `find_joined`; `probability`; `blind`
    where it tells nothing apart, see `_sees_pictures`), `overflow` (see `overflow`), warnings.

    Raises:
        StageError: `reference_failed`: ONNX Runtime cannot load or run the model; `preprocessing_mismatch`.
    """
    verify = job["parameters"]["verify"]
    inputs = job["inputs"]["optimize"]["facts"]["inputs"]
    check(job["parameters"], inputs)
    if not verify["enabled"]:
        return {"skipped": True, "overflow": []}
    path = os.path.join(model_folder(job), MODEL)
    inputs = mark_divisors(path, inputs)
    joined = find_joined(path, os.path.getsize(path))
    folded = os.path.join(job["inputs"]["optimize"]["dir"], MODEL)  # of which no If stands in the way
    probabilities = find_probabilities(folded, os.path.getsize(folded))
    session = _open(path, job)
    sent, before = open_before(job)
    names = [value.name for value in session.get_outputs()]
    calibration, own = (job["inputs"].get(name) for name in ("calibration", OWN_INPUTS))
    warnings = _warn_of_images(job, sent, calibration)
    plan = _plan(verify["samples"], calibration, own)
    looked_into = LookedInto(job, names, has_set=calibration is not None and own is None)
    if calibration is not None and own is None:
        for index in _learned(calibration["facts"]):
            raw = raw_inputs(inputs, {"kind": CALIBRATION, "seed": index}, job["parameters"], calibration)
            looked_into.learn(_feed(job, inputs, raw))
    with zipfile.ZipFile(os.path.join(job["output_dir"], OUTPUTS), "w") as archive:
        answers = _Answers(archive, len(names))
        for number, (kind, seed) in enumerate(plan):
            of_a_set = kind in (CALIBRATION, OWN)
            sample = describe_sample(inputs if of_a_set else sent, kind, seed, calibration)
            if before is not None and not of_a_set:
                sample["stored"] = True
                raw = raw_inputs(sent, sample, job["parameters"], calibration)
                raw = dict(zip((entry["name"] for entry in inputs), before.run(raw)))
            else:
                raw = raw_inputs(inputs, sample, job["parameters"], calibration, own)
            feed = _feed(job, inputs, raw)
            outputs = _run(session, names, feed, kind, job, warnings)
            if outputs is None or not looked_into.is_to_be_judged(kind, feed):
                continue
            if not answers.take([*feed.values(), *outputs]):
                warnings.append(f"{len(answers.samples)} of {len(plan)} samples fit into {_MAX_BYTES} bytes")
                break
            answers.add(sample, raw, outputs)
            report(100 * (number + 1) / len(plan), f"{number + 1} of {len(plan)} samples")
    samples = answers.samples
    warnings += looked_into.warnings()
    if all(sample["not_finite"] for sample in samples):
        warnings.append("the model itself gives NaN or infinity for every sample")
    described = [{"name": value.name, "dtype": value.type[len("tensor("):-1], "max_abs": _round(largest),
                  **({"joined": joined[value.name]} if value.name in joined else {}),
                  **({"probability": True} if value.name in probabilities else {})}
                 for value, largest in zip(session.get_outputs(), answers.largest)]
    if (calibration or own) and len(samples) > 1 and not answers.differ and _sees_pictures(session, names, inputs):
        described = [dict(entry, blind=True) for entry in described]
        warnings.append("the model answers the very same to every sample, though it tells plain pictures apart: see "
                        "mean, std and the calibration set's values")
    return {"skipped": False, "samples": samples, "inputs": inputs, "outputs": described,
            "overflow": looked_into.overflow(), "warnings": warnings}


def _feed(job, inputs, raw):
    """What the model gets of the artefact's inputs."""
    feed = {entry["name"]: to_model(job["parameters"], entry, raw[entry["name"]]) for entry in inputs}
    _check_finite(feed)
    return feed


def _learned(facts):
    """The indices of samples that show what the quantizer has seen."""
    others = [index for index in facts["quantize"] if index not in facts["verify"]]
    return [others[index] for index in spread(len(others), _LEARNED)] if others else []


def _run(session, names, feed, kind, job, warnings):
    """The model's outputs; None where it fails on an edge that nobody asked for."""
    import numpy as np

    try:
        return [np.asarray(output) for output in session.run(names, feed)]
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise_if_out_of_memory(error)
        if kind not in EDGES:
            raise reasons.NOT_RUN(said=tidy(error, job)) from error
        warnings.append(f"sample {kind!r} left out, the model itself fails on it: {tidy(error, job, 200)}")
        return None


class _Answers:
    """The model's outputs as they go into the archive. `samples` are the facts of each, `largest` is the greatest
    magnitude of each output, `differ` whether any sample's outputs differ from the first one's."""

    def __init__(self, archive, outputs):
        self.samples, self.largest, self.differ = [], [0.0] * outputs, False
        self._archive, self._bytes, self._first = archive, 0, None

    def take(self, arrays):
        """Whether a sample with these arrays still fits; the first one always does."""
        size = sum(array.nbytes for array in arrays)
        if self.samples and self._bytes + size > _MAX_BYTES:
            return False
        self._bytes += size
        return True

    def add(self, sample, raw, outputs):
        """One sample; its inputs go into the archive too if they are to be `stored`."""
        import numpy as np

        self._first = self._first or outputs
        self.differ = self.differ or _differ(self._first, outputs)
        bad, number = 0, len(self.samples)
        for index, array in enumerate(raw.values() if sample.get("stored") else ()):
            self._write(input_name(number, index), array)
        for index, output in enumerate(outputs):
            self._write(output_name(number, index), output)
            finite = np.isfinite(output)
            bad += int(output.size - np.count_nonzero(finite))
            self.largest[index] = max(self.largest[index], float(np.abs(output).max(initial=0, where=finite)))
        self.samples.append(dict(sample, inputs_sha256=inputs_digest(raw), not_finite=bad))

    def _write(self, name, array):
        import numpy as np

        with self._archive.open(name + ".npy", "w", force_zip64=True) as file:
            np.lib.format.write_array(file, array, allow_pickle=False)


def _differ(outputs, others):
    """Whether any output of floating-point numbers differs at all. Whole ones may well be alike: a class, a count."""
    import numpy as np

    return any(a.dtype.kind == "f" and not np.array_equal(a, b, equal_nan=True) for a, b in zip(outputs, others))


def _sees_pictures(session, names, inputs):
    """Whether the model tells two pictures of values from 0 to 1 apart. If so, and whatever it is shown through mean
    and std, or from the calibration set, is the very same to it, these have made it blind (its activations saturate, or
    float32 ends). No comparison would show that, for the artefact is as blind."""
    try:
        one, other = (session.run(names, make_inputs(inputs, "picture", seed)) for seed in range(2))
    except Exception as error:  # ONNX Runtime's errors share no base class; nobody asked for these inputs
        raise_if_out_of_memory(error)
        return False
    return _differ(one, other)


def _plan(count, calibration, own):
    """`(kind, seed)` of each sample. The client's own test inputs are all there is, where they were sent. A calibration
    set's samples come before the seeded ones, which are held against them. Without either a seeded one comes first, so
    that a model that cannot run at all is told from one that only dislikes an edge. Edges and noise lie outside of what
    a quantized model was calibrated for."""
    if own is not None:
        return [(OWN, index) for index in own["facts"]["verify"]]
    if calibration is not None:
        return [(CALIBRATION, index) for index in calibration["facts"]["verify"]] + [
            ("picture", 2 * seed) for seed in range(count)]
    seeded = [(_SEEDED[seed % 2], seed) for seed in range(count)]
    return seeded[:1] + [(edge, 0) for edge in EDGES] + seeded[1:]


def _check_finite(feed):
    import numpy as np

    for name, array in feed.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise reasons.MAKES_INFINITY(name=name)


def _warn_of_images(job, inputs, calibration):
    """Images hold 0 to 255, and few models take that."""
    raw = [entry["name"] for entry in inputs if calibration and entry["name"] in calibration["facts"]["images"]
           and entry["dtype"] != "uint8" and constants(job["parameters"], entry) is None]
    return [f"the calibration set's images go into {', '.join(raw)} as values from 0 to 255: where the model takes "
            "others, send mean and std, or .npy arrays"] if raw else []


def _open(path, job):
    """A session of the model. Where ONNX Runtime's own optimisations cannot take it, it runs without them."""
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    for level in (levels.ORT_ENABLE_ALL, levels.ORT_DISABLE_ALL):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = level
        options.intra_op_num_threads = job["threads"]
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise_if_out_of_memory(error)
            if level == levels.ORT_DISABLE_ALL:
                raise reasons.NOT_LOADED(said=tidy(error, job)) from error


def _round(value):
    return float(f"{value:.6g}")
