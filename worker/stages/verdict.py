"""The accuracy check's verdict on the figures of all outputs, and how it is told."""
from shared.rules.bilingual import NOTHING, as_it_is, join
from worker.stages import accuracy_bounds, reasons
from worker.stages.accuracy_bounds import Bounds
from worker.stages.dead_slices import choose_shown, find_failing
from worker.stages.probabilities import NEGLIGIBLE

_MOST_TOLD = 5  # outputs; the report has all


def judge(figures, parameters):
    """The facts of verify, from those that a `Gate` has collected.

    `parameters` are the task's `precision`, `verify` and `accept_accuracy`. Where there are samples of a calibration
    set, `outputs` are theirs, and `seeded_outputs` tell of the others. `failures` are sentences. `warnings` tell of
    outputs that the samples hardly test.

    Raises:
        StageError: `accuracy_too_low`, unless the client accepts the artefact as it is.
    """
    bounds = Bounds(parameters)
    calibrated, seeded = ([_without_unshown(entry, bounds) for entry in figures[kind]]
                          for kind in ("calibrated", "seeded"))
    outputs, seeded = (calibrated, seeded) if calibrated else (seeded, [])
    verdicts = [_Verdict(entry, bounds) for entry in outputs]
    failures = [verdict.told for verdict in verdicts if verdict.told] + [
        told for entry in seeded for told in [_judge_seeded(entry, bounds)] if told]
    accepted = bool(failures) and parameters["accept_accuracy"]
    facts = {"skipped": False, "samples": figures["samples"], "min_cosine": bounds.cosine, "bounds": bounds.to_json(),
             "passed": not failures, "accepted": accepted, "outputs": [verdict.shown() for verdict in verdicts],
             "failures": [text.en for text in failures], "failures_zh": [text.zh for text in failures]}
    unshown = [entry["name"] for entry in outputs if entry.get("unshown")]
    if unshown:
        text = reasons.NO_PROBABILITY(names=", ".join(unshown), least=NEGLIGIBLE)
        facts |= {"warnings": [text.en], "warnings_zh": [text.zh]}
    if seeded:
        facts["seeded_outputs"] = [_without_slices(entry) for entry in seeded]
    if failures and not accepted:
        refusal = reasons.TOO_FAR(failed=len(failures), total=len(outputs) + len(seeded),
                                  outputs=join("; ", failures[:_MOST_TOLD]), advice=_advise(verdicts, bounds))
        refusal.found = facts
        raise refusal
    return facts


def _without_unshown(entry, bounds):
    """The entry as it is judged. Probabilities that no sample shows are no evidence against floating point, whose least
    number is above them. Integers have a scale of their own: where it makes zeros of all scores, the artefact is dead.
    """
    if not entry.get("unshown"):
        return entry
    if bounds.quantized:
        return {name: value for name, value in entry.items() if name != "unshown"}
    return dict(entry, cosine=1.0, slices=[])


class _Verdict:
    """On one output: `told` says what fails, or is nothing."""

    def __init__(self, entry, bounds):
        self.entry, self.failing = entry, find_failing(entry, bounds)
        self.blind = entry.get("blind", False)
        self.figures_miss = _misses(entry, bounds, bounds.cosine, bounds.agreement)
        parts = []
        if self.figures_miss or self.blind:
            parts.append(_tell(as_it_is(entry["name"]), entry, bounds.cosine, bounds.agreement))
        if self.failing and not (self.figures_miss and self.failing["axis"] is None):  # the whole says it already
            slices = _tell_slices(self.failing, bounds)
            if self.failing["axis"] is None and not self.failing["dead"]:
                slices = join(", ", [slices, reasons.OFFSET_ONLY])
            parts.append(slices if parts else reasons.NAMED(name=entry["name"], what=slices))
        self.told = join(", ", parts) if parts else None

    def shown(self):
        """The entry as the facts tell it: with the slices of one axis, and which of them fail."""
        axis, result = choose_shown(self.entry, self.failing), _without_slices(self.entry)
        if axis is not None:
            wrong = self.failing["wrong"] if self.failing and self.failing["axis"] == axis["axis"] else []
            result["slices"] = dict(axis, wrong=wrong)
        return result


def _judge_seeded(entry, bounds):
    cosine, agreement = (min(bounds.cosine, accuracy_bounds.COLLAPSED),
                         min(bounds.agreement, accuracy_bounds.COLLAPSED_AGREEMENT))
    return _tell(reasons.ON_SEEDED(name=entry["name"]), entry, cosine, agreement) if _misses(
        entry, bounds, cosine, agreement) else None


def _misses(entry, bounds, cosine, agreement):
    if entry["not_finite_mismatch"]:
        return True
    if "agreement" not in entry:
        return entry["cosine"] < cosine
    wrong = round((1 - entry["agreement"]) * entry["values"])
    # One of three or more may fall to the other side by rounding alone.
    return entry["agreement"] < agreement and not (bounds.quantized and wrong <= 1 and entry["values"] >= 3)


def _tell(name, entry, cosine, agreement):
    if "agreement" in entry:
        parts = [reasons.AGREEMENT(name=name, share=entry["agreement"], values=entry["values"], bound=agreement)]
    else:
        parts = [reasons.FIGURES(name=name, cosine=entry["cosine"], error=entry["max_abs_error"], bound=cosine)]
    if entry["not_finite_mismatch"]:
        parts.append(reasons.NOT_FINITE(count=entry["not_finite_mismatch"]))
    if entry.get("blind"):
        parts.append(reasons.SAME_FOR_ALL)
    return join(", ", parts)


def _tell_slices(failing, bounds):
    if failing["axis"] is None:
        if failing["dead"]:
            return reasons.ALL_DEAD(spread=failing["spread"])
        return reasons.ALL_WRONG(error=failing["error"], bound=accuracy_bounds.MAX_ERROR)
    parts = []
    if failing["dead"]:
        parts.append(reasons.DEAD(indices=tell_ranges(failing["dead"]), spread=failing["spread"]))
    if failing["wrong"]:
        bound = bounds.small_error if failing["small"] else accuracy_bounds.MAX_ERROR
        parts.append(reasons.WRONG(indices=tell_ranges(failing["wrong"]), error=failing["error"], bound=bound))
    if failing["small"]:
        kind = reasons.SHARE_A_SCALE if bounds.quantized else reasons.STAND_BESIDE
        parts.append(kind(small=failing["largest"], large=failing["scale"]))
    return reasons.ALONG_AXIS(count=failing["shape"][failing["axis"]], axis=failing["axis"],
                              shape=failing["shape"], what=join(", ", parts))


def tell_ranges(indices):
    """Rising whole numbers as `4-7, 9`; at most twelve ranges."""
    runs = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    told = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:12]]
    return ", ".join(told) + (", …" if len(runs) > 12 else "")


def _advise(verdicts, bounds):
    if any(verdict.blind for verdict in verdicts):
        return reasons.SEE_VALUES
    parts = []
    mixed = [verdict for verdict in verdicts if verdict.failing and verdict.failing["small"] and bounds.quantized]
    for verdict in mixed[:1]:
        joined = verdict.entry.get("joined")
        parts.append(reasons.CUT_AT(tensors=", ".join(f'"{name}"' for name in joined)) if joined else reasons.CUT)
    higher = {"int8": reasons.TRY_HIGHER_THAN_INT8, "int16": reasons.TRY_HIGHER_THAN_INT16,
              "fp16": reasons.TRY_HIGHER_THAN_FP16}.get(bounds.precision, NOTHING)
    if higher is not NOTHING:
        parts.append(higher)
    if bounds.quantized and not mixed:
        parts.append(reasons.MORE_SAMPLES)
    if any(verdict.figures_miss for verdict in verdicts) or not parts:
        parts.append(reasons.LOWER_BOUND)
    return join("; ", parts)


def _without_slices(entry):
    return {name: value for name, value in entry.items() if name != "slices"}
