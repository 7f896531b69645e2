"""Values inside a model that FP16, in which NPUs compute, cannot hold. The reference tells them; see `inner`."""
from contextlib import contextmanager

from shared.rules.bilingual import NOTHING, as_it_is
from worker.stage_api import StageError
from worker.stages import reasons

FP16_MAX = 65504.0
_MAX_KEPT = 20
_MAX_NAMED = 3
# Hand on to a Softmax what an attention mask adds to it.
_TO_SOFTMAX = ("Add", "Sum", "Where", "Unsqueeze", "Squeeze", "Reshape", "Expand", "Cast", "Transpose", "Identity",
               "Slice", "Concat", "Mul", "Max")
_SOFTMAX = ("Softmax", "LogSoftmax")


class Overflow:
    """Gathers the ranges of all samples."""

    def __init__(self):
        self._ranges = {}

    def add(self, ranges):
        for name, (least, greatest) in ranges.items():
            before = self._ranges.get(name, (least, greatest))
            self._ranges[name] = (min(least, before[0]), max(greatest, before[1]))

    def tensors(self, model_path):
        """`[{"name", "value"}]` of the tensors beyond FP16's range, the greatest first. What an attention mask makes of
        its forbidden places, a large negative number that a Softmax turns into zero, does not count."""
        import onnx

        beyond = {name: greatest if greatest >= -least else least for name, (least, greatest) in self._ranges.items()
                  if max(greatest, -least) > FP16_MAX}
        if not beyond:
            return []
        graph = onnx.load(model_path, load_external_data=False).graph
        found = [{"name": name, "value": float(f"{value:.4g}")} for name, value in beyond.items()
                 if self._ranges[name][1] > FP16_MAX or not _only_masks(graph, name)]
        return sorted(found, key=lambda entry: -abs(entry["value"]))[:_MAX_KEPT]


def _only_masks(graph, name):
    """Whether all that reads the tensor, through operators that hand it on, is a Softmax."""
    ends = {value.name for value in graph.output}
    waiting, seen = [name], set()
    while waiting:
        current = waiting.pop()
        if current in ends:
            return False
        seen.add(current)
        for node in graph.node:
            if current not in node.input or node.op_type in _SOFTMAX:
                continue
            if node.op_type not in _TO_SOFTMAX:
                return False
            waiting += [output for output in node.output if output not in seen]
    return True


def describe_overflow(found):
    """The tensors with their values, in both languages; nothing where there is none."""
    if not found:
        return NOTHING
    named = ", ".join(f"{entry['name']} ({entry['value']:.3g})" for entry in found[:_MAX_NAMED])
    more = reasons.MORE_TENSORS(count=len(found) - _MAX_NAMED) if len(found) > _MAX_NAMED else NOTHING
    return reasons.BEYOND_FP16(names=as_it_is(named), more=more)


def with_overflow_told(facts, found):
    """The facts of verify with a warning of `found`, the reference's `overflow`."""
    if not found:
        return facts
    text = describe_overflow(found)
    return dict(facts, warnings=[*facts.get("warnings", ()), text.en],
                warnings_zh=[*facts.get("warnings_zh", ()), text.zh])


@contextmanager
def overflow_named(found):
    """A context in which an artefact that fails for its accuracy fails with `found`, the reference's `overflow`, as the
    likely cause; as it would have, where there is none."""
    try:
        yield
    except StageError as error:
        if error.code != "accuracy_too_low" or not found:
            raise
        raise reasons.OVERFLOWS(said=error.text, cause=describe_overflow(found)) from error
