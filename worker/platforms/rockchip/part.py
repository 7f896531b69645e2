"""A part of the model, from given tensors to given tensors, and its outputs by ONNX Runtime."""
from worker.platforms.rockchip import reasons

PART = "part.onnx"


class Part:
    """Written to PART in the working directory. `inputs` and `outputs` are tensors' names, None: those of the model."""

    def __init__(self, source, inputs, outputs, threads):
        """Raises:
            StageError: `tensor_not_found`.
        """
        import onnx
        from onnx.utils import Extractor

        model = onnx.shape_inference.infer_shapes(onnx.load(source))
        weights = {tensor.name for tensor in model.graph.initializer}
        self._model_inputs = [value.name for value in model.graph.input if value.name not in weights]
        made = {name for node in model.graph.node for name in node.output if name}
        self._starts_inside = inputs is not None
        self.inputs = inputs or self._model_inputs
        self.outputs = outputs or [value.name for value in model.graph.output]
        for name in [*self.inputs, *self.outputs]:
            if name not in made and name not in self._model_inputs:
                raise reasons.NO_TENSOR(name=name)
        try:
            part = Extractor(model).extract_model(self.inputs, self.outputs)
        except KeyError as error:  # the extractor looks tensors up by their known shapes
            raise reasons.SHAPE_UNKNOWN(name=error) from error
        _check_closed(part)
        onnx.save(part, PART)
        self._open_whole(model, threads)

    def run(self, feed):
        """`(the part's inputs, its outputs)` as lists of arrays, where the model gets `feed` ({name: array})."""
        names = list(dict.fromkeys([*(self.inputs if self._starts_inside else []), *self.outputs]))
        computed = [name for name in names if name not in feed]
        values = dict(feed, **dict(zip(computed, self._session.run(computed, feed)))) if computed else feed
        return [values[name] for name in self.inputs], [values[name] for name in self.outputs]

    def feed(self, arrays):
        """`{name: array}` of the whole model's inputs in their order."""
        return dict(zip(self._model_inputs, arrays))

    def _open_whole(self, model, threads):
        """The whole model in ONNX Runtime, with the part's ends as outputs."""
        import onnx
        import onnxruntime

        present = {value.name for value in model.graph.output} | set(self._model_inputs)
        for name in dict.fromkeys([*self.inputs, *self.outputs]):
            if name not in present:
                model.graph.output.add(name=name)
        onnx.save(model, "whole.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession("whole.onnx", options, providers=["CPUExecutionProvider"])


def _check_closed(part):
    known = {value.name for value in part.graph.input} | {tensor.name for tensor in part.graph.initializer} | {""}
    known |= {name for node in part.graph.node for name in node.output}
    missing = sorted({name for node in part.graph.node for name in node.input} - known)
    if missing:
        raise reasons.NOT_CLOSED(names=", ".join(missing))
