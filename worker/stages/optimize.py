"""Stage: the model as the client asked for it, with static shapes, simplified by ONNX Runtime's portable passes.

What the passes made is run beside the model before them. If it answers something else, the model stays as it was.
"""
import os
from collections import Counter

from shared.rules.fixed import split_fixed, unfixed
from shared.rules.models import MODEL
from shared.rules.shapes import choose_shapes
from worker.stage_api import report
from worker.stages import asked, reasons
from worker.stages.bounds import computing, loading
from worker.stages.control_flow import fold_control_flow
from worker.stages.graph_edits import fix_input, part_names, reads, unlist_constants
from worker.stages.inspect import check_inferred_shapes, describe
from worker.stages.onnx_model import model_inputs, walk_nodes
from worker.stages.proof import find_difference
from worker.stages.recurrent import put_time_first
from worker.stages.samples import numpy_dtype
from worker.stages.simplify import keep_unsimplified, outline, simplify, write
from worker.stages.tensors import check_value_shapes


def run(job):
    """Writes model.onnx (with model.onnx.data beside it for large weights); and what `asked.write` does, if the client
    asked for changes of the model.

    Facts: `inputs` and `outputs` with their shapes now, node counts before and after, `simplified`, `rewritten`
    (the passes were run and have changed a node other than a Constant), warnings. If the model begins inside:
    `sent_inputs`, those of the part before it. Where a client's samples have other inputs, namely all that the
    model was sent with and that are not fixed: `set_inputs`.

    Raises:
        StageError: see `shared.rules.shapes` and `shared.rules.fixed`; `input_shape_mismatch`, `tensor_not_found`,
            `tensor_too_large`, `model_invalid`, `model_too_complex`.
    """
    inspected = job["inputs"]["inspect"]["facts"]
    with computing(inspected["size_bytes"], inspected["nodes"]):
        work = _Work(job)
        work.simplify()
    report(60, "comparing")
    work.keep_if_alike()
    return work.facts()


class _Work:
    def __init__(self, job):
        self._job, self._source, self._out = job, job["inputs"]["fetch"]["dir"], job["output_dir"]
        self._inspected = inspected = job["inputs"]["inspect"]["facts"]
        parameters = job["parameters"]
        fixed, wanted = parameters["fixed_inputs"] or {}, parameters["input_shape"] or {}
        auto = parameters["auto_input_shape"]
        remaining, fixed_shapes = split_fixed(inspected["inputs"], fixed, wanted, auto)
        self._shapes, chosen = choose_shapes(remaining, unfixed(wanted, fixed), auto)
        self._warnings = [warning.en for warning in chosen]
        types = {entry["name"]: entry["dtype"] for entry in inspected["inputs"]}
        self._request = asked.Request(parameters, {name: _array(value, fixed_shapes[name], types[name])
                                                   for name, value in fixed.items()})
        self._mended = False  # what ONNX Runtime or a compiler could not read as it was sent
        model = self._read()  # inspect found it within all limits
        self._read_inputs = {name for node in model.graph.node for name in reads(node)}
        self._changed = _fix_inputs(model, {**self._shapes, **fixed_shapes})
        check_value_shapes(model_inputs(model))
        if self._request:
            self._request.find_cut(model)
            self._request.apply(model)
            self._changed = True
        self._unchanged = model.SerializeToString()
        with loading(inspected["size_bytes"]):
            self._folded = fold_control_flow(model, self._source, job["threads"])
        self._inputs = [describe(value) for value in model.graph.input]
        self._outputs = []
        self._nodes = outline(model)
        self._before = Counter((node.domain, node.op_type) for node in walk_nodes(model))
        self._data = model.SerializeToString() if self._folded else self._unchanged
        self._sent_inputs, self.simplified, self._rewritten = None, False, False

    def _read(self):
        import onnx

        model = onnx.load(os.path.join(self._source, MODEL), load_external_data=False)
        mended = [unlist_constants(model), part_names(model), put_time_first(model)]
        self._mended = any(mended)
        return model

    def simplify(self):
        report(20, "simplifying")
        inspected, target = self._inspected, os.path.join(self._out, MODEL)
        problem, model, zeros = "the client does not want it", None, {}
        if self._job["parameters"]["simplify"] is not False:
            problem, model, self._outputs = simplify(self._data, self._before, target, self._job)
        if problem is None and self._request.constants:
            zeros = self._drop_unreached(model, target)
        if problem is not None:
            model = self._keep_unsimplified(problem)
        self.simplified = problem is None
        self._nodes_after = sum(1 for _ in walk_nodes(model))
        self._rewritten = outline(model) != self._nodes
        if self._request or self._mended:
            names = asked.write(self._request, self._read, self._source, self._out, inspected["external_data"], zeros)
            if names:
                self._sent_inputs = [dict(entry, shape=self._shapes[entry["name"]])
                                     for entry in inspected["inputs"]
                                     if entry["name"] in names or entry["name"] in self._request.inputs]
        if self._changed:  # else inspect has looked already
            check_inferred_shapes(model)

    def keep_if_alike(self):
        """Run what was made beside the model that was asked for, and go back to what answers as that does."""
        if self.simplified and (found := self._difference()):
            self._keep_unsimplified(f"the simplified model answers something else: {found}")
            self.simplified = False
        if not self.simplified and self._folded and (found := self._difference()):
            self._data = self._unchanged
            self._keep_unsimplified(f"without If and Loop the model answers something else: {found}")

    def _difference(self):
        own = os.path.join(self._out, asked.FOLDER)
        before = own if os.path.isdir(own) else self._source
        return find_difference(os.path.join(before, MODEL), os.path.join(self._out, MODEL), self._inputs,
                               self._job["threads"])

    def facts(self):
        warnings = self._warnings + [f"output {entry['name']!r} keeps a dimension that depends on the data"
                                     for entry in self._outputs if None in entry["shape"]]
        facts = {"inputs": self._inputs, "outputs": self._outputs or self._declared_outputs(),
                 "nodes_before": sum(self._before.values()), "nodes_after": self._nodes_after,
                 "simplified": self.simplified, "rewritten": self.simplified and self._rewritten, "warnings": warnings}
        if self._sent_inputs:
            facts["sent_inputs"] = self._sent_inputs
        own = [dict(entry, shape=self._shapes[entry["name"]]) for entry in self._inspected["inputs"]
               if entry["name"] in self._shapes]
        if [entry["name"] for entry in own] != [entry["name"] for entry in self._inputs]:
            facts["set_inputs"] = own
        return facts

    def _declared_outputs(self):
        """For a model that ONNX Runtime has not simplified, and whose outputs it has not described then."""
        if self._request.new_outputs is None:
            return self._inspected["outputs"]
        return [describe(value) for value in self._request.new_outputs]

    def _drop_unreached(self, model, target):
        """Remove the inputs that folding by fixed inputs has left without a reader; `{input: zeros}`."""
        import numpy as np
        import onnx

        reached = {name for node in model.graph.node for name in reads(node)}
        reached |= {value.name for value in model.graph.output}
        gone = [entry for entry in self._inputs
                if entry["name"] in self._read_inputs and entry["name"] not in reached]
        if not gone:
            return {}
        if len(gone) == len(self._inputs):
            raise reasons.NO_INPUT_LEFT()
        names = {entry["name"] for entry in gone}
        for index in reversed([i for i, value in enumerate(model.graph.input) if value.name in names]):
            del model.graph.input[index]
        self._inputs = [entry for entry in self._inputs if entry["name"] not in names]
        write(model, target)
        zeros = {entry["name"]: np.zeros(entry["shape"], numpy_dtype(entry["dtype"])) for entry in gone}
        for field in ("_data", "_unchanged"):  # what is gone back to has the same inputs
            whole = onnx.ModelProto.FromString(getattr(self, field))
            for name, array in zeros.items():
                fix_input(whole, name, array)
            setattr(self, field, whole.SerializeToString())
        return zeros

    def _keep_unsimplified(self, problem):
        import onnx

        self._warnings.append("not simplified: " + problem)
        keep_unsimplified(self._data, self._source, self._out, self._inspected["external_data"])
        model = onnx.ModelProto.FromString(self._data)
        self._nodes_after = sum(1 for _ in walk_nodes(model))
        return model


def _array(value, shape, dtype):
    """The constant that an input becomes."""
    import numpy as np

    values = np.asarray(value, numpy_dtype(dtype))
    return np.full(shape, values) if values.ndim == 0 else values


def _fix_inputs(model, shapes):
    """Write the shapes into the model; whether that changed any. Shapes derived from open ones are forgotten."""
    changed = False
    for value in model_inputs(model):
        tensor = value.type.tensor_type
        if [dim.dim_value for dim in tensor.shape.dim] == shapes[value.name] and tensor.HasField("shape"):
            continue
        changed = True
        del tensor.shape.dim[:]
        tensor.shape.SetInParent()
        for dim in shapes[value.name]:
            tensor.shape.dim.add().dim_value = dim
    if changed:
        del model.graph.value_info[:]
        for value in model.graph.output:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    return changed
