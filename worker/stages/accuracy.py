"""The accuracy gate, for every target: an artefact's outputs against the reference's. NumPy only."""
import os
import time

from shared.rules.bilingual import as_it_is, join
from worker.stage_api import log, report
from worker.stages import reasons
from worker.stages.compared import Output
from worker.stages.feeds import CALIBRATION, OWN_INPUTS, raw_inputs
from worker.stages.ranking import align
from worker.stages.samples import OUTPUTS, input_name, inputs_digest, output_name
from worker.stages.verdict import judge


def read_samples(job):
    """`(kind, inputs, outputs)` of each sample; arrays in the model's order. `inputs` are what the artefact takes: raw
    values where the stage's parameters `mean` and `std` are baked in. Reads the inputs `reference`, `calibration`
    and `verify_inputs`.

    Raises:
        StageError: `verify_failed`: this toolchain's NumPy makes other inputs of the same seeds.
    """
    import numpy as np

    reference, calibration = job["inputs"]["reference"], job["inputs"].get("calibration")
    own = job["inputs"].get(OWN_INPUTS)
    facts = reference["facts"]
    with np.load(os.path.join(reference["dir"], OUTPUTS), allow_pickle=False) as arrays:
        for number, sample in enumerate(facts["samples"]):
            if sample.get("stored"):
                feed = {entry["name"]: arrays[input_name(number, index)]
                        for index, entry in enumerate(facts["inputs"])}
            else:
                feed = raw_inputs(facts["inputs"], sample, job["parameters"], calibration, own)
            if inputs_digest(feed) != sample["inputs_sha256"]:
                raise reasons.OTHER_INPUTS()
            outputs = [arrays[output_name(number, index)] for index in range(len(facts["outputs"]))]
            yield sample["kind"], list(feed.values()), outputs


class Gate:
    """Collects the outputs of all samples, then judges each output over all of them: by its cosine and its slices', or
    by the share of whole numbers that agrees.

    All, not the worst: a classifier's sample on the edge between two classes falls to the other side by rounding
    alone, while what a conversion breaks shows in most samples. The worst is told beside it. A value that is finite on
    one side only always fails. The samples of a calibration set and seeded ones are judged apart.
    """

    def __init__(self, outputs):
        """`outputs` are those of the reference's facts, or such with a name alone."""
        self._entries = outputs
        self._groups = {}  # whether it is the calibration set's -> outputs
        self._samples = 0

    def add(self, kind, expected, actual):
        """One sample: its kind, the outputs expected and given, in the same order.

        Raises:
            StageError: `accuracy_too_low`: another number of outputs, or another shape.
        """
        if len(expected) != len(actual):
            raise _other_count([entry["name"] for entry in self._entries], expected, actual)
        group = self._groups.setdefault(kind == CALIBRATION, [Output(entry) for entry in self._entries])
        for output, one, other in zip(group, expected, align(expected, actual)):
            output.add(one, other)
        self._samples += 1

    def figures(self):
        """What `judge` takes, as plain JSON: `samples` (how many), and the figures of each output over those of the
        calibration set and over the seeded ones: `calibrated` and `seeded`, empty where there was no such sample.

        `max_rel_error` is against the output's greatest magnitude in the reference.
        """
        told = {kind: _rounded_all(output.figures() for output in self._groups.get(calibrated, []))
                for kind, calibrated in (("calibrated", True), ("seeded", False))}
        return dict(told, samples=self._samples)

    def judge(self, parameters):
        """See `judge`."""
        return judge(self.figures(), parameters)


def _other_count(names, expected, actual):
    """The refusal for another number of outputs. Those without a counterpart are found by their shapes, in order."""
    lost, left = [], [list(array.shape) for array in actual]
    for name, array in zip(names, expected):
        alike = next((shape for shape in left if _without_ones(shape) == _without_ones(array.shape)), None)
        if alike is None:
            lost.append(as_it_is(f"{name} {list(array.shape)}"))
        else:
            left.remove(alike)
    return reasons.OTHER_COUNT(actual=len(actual), expected=len(expected), lost=join(", ", lost) if lost else
                               reasons.NO_FILE, more=", ".join(map(str, left)) if left else reasons.NO_FILE)


def _without_ones(shape):
    return [dim for dim in shape if dim != 1]


def compare(job, infer, chosen=None, begins_at=0.0):
    """A `Gate` that has seen what the artefact answers to the reference's samples, to all or to those whose numbers are
    `chosen`. `infer(inputs)` gives the artefact's outputs; both are lists of arrays in the model's order. The progress
    goes from `begins_at` percent to 100. The log says how long each sample took.
    """
    reference = job["inputs"]["reference"]["facts"]
    gate = Gate(reference["outputs"])
    wanted = range(len(reference["samples"])) if chosen is None else chosen
    done = 0
    report(begins_at, f"0 of {len(wanted)} samples")
    for number, (kind, inputs, expected) in enumerate(read_samples(job)):
        if number not in wanted:
            continue
        started = time.monotonic()
        gate.add(kind, expected, infer(inputs))
        done += 1
        log(f"sample {number} ({kind}): simulated in {time.monotonic() - started:.1f} s")
        report(begins_at + (100 - begins_at) * done / len(wanted), f"{done} of {len(wanted)} samples")
    return gate


def _rounded_all(outputs):
    return [{key: _rounded(value) for key, value in entry.items()} for entry in outputs]


def _rounded(value):
    return float(f"{value:.8g}") if isinstance(value, float) else value
