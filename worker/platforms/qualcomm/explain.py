"""The QNN compiler's messages as errors for the user.

The texts are those of onnxruntime-qnn 2.7.0; most stand in the log alone, the exception tells that something failed.
"""
import re

from shared.rules.bilingual import NOTHING
from worker.platforms.qualcomm import reasons
from worker.platforms.qualcomm.told import TOKEN
from worker.stages.graph import value_shapes

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_UNSUPPORTED = re.compile(r"\{ name: (.*?), type: (\w+) \}")
# Without CPU fallback this comes before the list, for a convolution that is left over.
_LEFT_OVER = re.compile(r"Node '([^']*)' OpType:(\w+) with domain:com\.ms\.internal\.nhwc was inserted")
_VENDOR_CODE = re.compile(r"\bQNN_\w*ERROR\w*")
_FALLBACK_DISABLED = "fallback to CPU EP has been explicitly disabled"
NO_CONTEXT = "it reported success and wrote no context"
_MAX_NAMED = 10
_QUANTIZERS = ("DequantizeLinear", "QuantizeLinear")


def unsupported_nodes(text):
    """`(name, type)` of the nodes that the compiler refused, each once."""
    found = [match for line in text.splitlines() if "Unsupported nodes in QNN EP" in line
             for match in _UNSUPPORTED.findall(line)] + _LEFT_OVER.findall(text)
    return list(dict.fromkeys((TOKEN.sub("", name), kind) for name, kind in found))


def explain(error, log, path):
    """The `StageError` for what the compiler said of the model at `path`: `error` is its exception's text, `log` all
    that it printed."""
    log = _ANSI.sub("", log)
    code = _VENDOR_CODE.search(log + error)
    if code is None:
        refused = unsupported_nodes(log + "\n" + error)
        if refused or _takes_nothing(error):
            return _refusal(refused, path)
    said = [line.partition("] ")[2] or line for line in log.splitlines() if "[E:" in line or "<E>" in line]
    text = "; ".join(dict.fromkeys([error, *said[-2:]]))
    return reasons.NOT_BUILT(said=text[:600], vendor_code=code and code.group())


def _takes_nothing(error):
    """Whether no node at all was taken, in which case it names none."""
    return _FALLBACK_DISABLED in error or error == NO_CONTEXT


def _refusal(refused, path):
    """For the nodes that were refused; none given stands for all. Where each of them has to do with a dynamic shape,
    that is the reason: the compiler itself does not say so."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    refused = refused or [(node.name, node.op_type) for node in model.graph.node]
    shapes = value_shapes(model)
    values = {node.name: [*node.input, *node.output] for node in model.graph.node}
    dynamic = [[name for name in values.get(node, ()) if None in shapes.get(name, ())] for node, _ in refused]
    if all(dynamic):
        named = ", ".join(list(dict.fromkeys(name for names in dynamic for name in names))[:_MAX_NAMED])
        return reasons.NO_STATIC_SHAPE(names=named)
    kinds = sorted({kind for _, kind in refused})
    if set(kinds) <= set(_QUANTIZERS):
        return reasons.QUANTIZED_ALREADY(names=", ".join(name or kind for name, kind in refused[:_MAX_NAMED]))
    named = ", ".join(name or kind for name, kind in refused[:_MAX_NAMED])
    more = reasons.MORE(count=len(refused) - _MAX_NAMED) if len(refused) > _MAX_NAMED else NOTHING
    return reasons.NOT_TAKEN(kinds=", ".join(kinds), names=named, more=more)
