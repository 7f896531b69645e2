"""The model as the client asked for it: inputs that are fixed are constants, and it is cut where it is to be cut.

`optimize` makes it, beside its own result, if anything of this was asked for, or if constants were listed as inputs or
nodes had one name, which not every tool reads; else it is the model as it was sent. No pass has touched it. So the
reference runs it, and what is simplified is compared with it. A model that begins inside has another beside it, which
computes what its inputs get from what the whole model takes.
"""
import difflib
import os
import shutil

from shared.rules import models as rules
from worker.stages import reasons
from worker.stages.graph_edits import cut, fix_input, prune, reads
from worker.stages.inferred import infer_values
from worker.stages.inspect import describe

FOLDER, BEFORE = "asked", "before.onnx"
_MAX_NEAR = 5


def model_folder(job):
    """The folder with the model as it was asked for, `model.onnx`; reads the inputs `fetch` and `optimize`."""
    own = os.path.join(job["inputs"]["optimize"]["dir"], FOLDER)
    return own if os.path.isdir(own) else job["inputs"]["fetch"]["dir"]


class Request:
    """What of it a task asks for. `constants` are `{input: array}`, `inputs` and `outputs` the cut's tensors."""

    def __init__(self, parameters, constants):
        self.constants = constants
        self.inputs, self.outputs = parameters["inputs"], parameters["outputs"]
        self.new_inputs = self.new_outputs = None  # `ValueInfoProto` of the cut, once they are known

    def __bool__(self):
        return bool(self.constants or self.inputs or self.outputs)

    def find_cut(self, model):
        """Look the tensors up in a model whose shapes are fixed.

        Raises:
            StageError: `tensor_not_found`.
        """
        if not (self.inputs or self.outputs):
            return
        made = [name for node in model.graph.node for name in node.output if name]
        given = [value.name for value in model.graph.input]
        _check_names(self.outputs or [], made)
        _check_names(self.inputs or [], [*made, *given])
        values = infer_values(model)
        if self.inputs:
            self.new_inputs = [_static(name, values) for name in self.inputs]
        if self.outputs:
            self.new_outputs = [values.get(name) or _nameless(name) for name in self.outputs]

    def apply(self, model):
        """Let the model be as it is asked for; the names that its nodes still read.

        Raises:
            StageError: `tensor_not_found`: the outputs need more than the given inputs.
        """
        for name, array in self.constants.items():
            fix_input(model, name, array)
        before = {name for node in model.graph.node for name in reads(node)}
        cut(model, self.new_inputs, self.new_outputs)
        needed = prune(model)
        own = set(self.inputs or ())
        if self.inputs and (missing := [value.name for value in model.graph.input
                                        if value.name in needed and value.name not in own]):
            raise reasons.NOT_CLOSED(names=", ".join(missing))
        # What the model as it was sent does not read either is the client's own affair.
        gone = [value.name for value in model.graph.input if value.name not in needed
                and (self.inputs or value.name in before) and value.name not in own]
        for index in reversed([i for i, value in enumerate(model.graph.input) if value.name in gone]):
            del model.graph.input[index]
        if not model.graph.input:
            raise reasons.NO_INPUT_LEFT()
        return needed

    def apply_before(self, model):
        """Let the model be the part before the cut, for a cut that begins inside."""
        for name, array in self.constants.items():
            fix_input(model, name, array)
        given = {value.name for value in model.graph.input}
        cut(model, None, [value for value in self.new_inputs or () if value.name not in given])
        needed = prune(model) | {name for name in self.inputs if name in given}
        for index in reversed([i for i, value in enumerate(model.graph.input) if value.name not in needed]):
            del model.graph.input[index]


def write(request, sent, source, output_dir, external, zeros):
    """Write the folder for `optimize`. `sent` reads the model as it was sent; `zeros` are `{input: array}` of inputs
    that turned out to be without any effect. The inputs of the part before the cut, where there is one."""
    folder = os.path.join(output_dir, FOLDER)
    os.mkdir(folder)
    model = sent()
    if request:
        request.apply(model)
    for name, array in zeros.items():
        fix_input(model, name, array)
    _save(model, os.path.join(folder, rules.MODEL))
    for entry in external:
        path = os.path.join(folder, entry["location"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copyfile(os.path.join(source, entry["location"]), path)
    if not request.inputs:
        return None
    model = sent()
    request.apply_before(model)
    if not model.graph.output:  # the cut begins at some of the model's own inputs
        return None
    _save(model, os.path.join(folder, BEFORE))
    return [value.name for value in model.graph.input]


class Before:
    """Computes what the inputs of a model that begins inside get."""

    def __init__(self, entry, threads):
        """`entry` is that of `optimize` among a stage's inputs."""
        import onnxruntime

        self._names = [value["name"] for value in entry["facts"]["inputs"]]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(os.path.join(entry["dir"], FOLDER, BEFORE), options,
                                                     providers=["CPUExecutionProvider"])

    def run(self, feed):
        """The arrays for the model's inputs in their order, where the whole gets `feed`."""
        made = [value.name for value in self._session.get_outputs()]
        wanted = {value.name for value in self._session.get_inputs()} & feed.keys()
        values = dict(feed, **dict(zip(made, self._session.run(made, {name: feed[name] for name in wanted}))))
        return [values[name] for name in self._names]


def open_before(job):
    """`(the inputs that samples are made for, the part before the cut or None)`."""
    entry = job["inputs"]["optimize"]
    sent = entry["facts"].get("sent_inputs")
    return (sent, Before(entry, job["threads"])) if sent else (entry["facts"]["inputs"], None)


def set_inputs(job):
    """The inputs that the samples of a client's set have: those of the whole model. What a cut leaves unread is among
    them, for whoever made the set knew nothing of the cut."""
    facts = job["inputs"]["optimize"]["facts"]
    return facts.get("set_inputs") or facts["inputs"]


def _check_names(names, known):
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, _MAX_NEAR, 0.5) or known[-_MAX_NEAR:]
            raise reasons.NO_TENSOR(name=name, near=", ".join(near))


def _static(name, values):
    described = describe(values[name]) if name in values else None
    if described is None or described["shape"] is None or not all(isinstance(dim, int) for dim in described["shape"]):
        raise reasons.SHAPE_UNKNOWN(name=name)
    rules.check_type(described)
    return values[name]


def _nameless(name):
    """A value of which nothing but its name is known: ONNX Runtime finds its type."""
    import onnx

    return onnx.ValueInfoProto(name=name)


def _save(model, path):
    with open(path, "wb") as file:
        file.write(model.SerializeToString())
