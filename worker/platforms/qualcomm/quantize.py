"""Stage: the model with quantize and dequantize nodes, as the QNN compiler wants them; ranges from the calibration set.

Activations are unsigned and asymmetric, of 8 or 16 bits (ONNX Runtime's QNN provider, "Generating a quantized model").
In INT8 those that cost most have 16: see `sensitivity`. Weights are rounded together, and biases make up for what that
leaves: see `rounding` and `biases`.
"""
import os

from shared.rules.models import MODEL
from worker.platforms.qualcomm import overrides, ranges, reasons
from worker.platforms.qualcomm.biases import correct, flatten
from worker.platforms.qualcomm.drafts import rounded_weights, take_weights
from worker.platforms.qualcomm.prepare import raise_opset
from worker.platforms.qualcomm.rounding import round_together
from worker.platforms.qualcomm.saving import save
from worker.platforms.qualcomm.sensitivity import SAMPLES, find
from worker.platforms.qualcomm.single_precision import widen
from worker.stage_api import report
from worker.stages import calibration
from worker.stages.calls import File, Name, Script, Shown
from worker.stages.graph import Graph
from worker.stages.messages import raise_if_out_of_memory, tidy
from worker.stages.onnx_model import model_inputs

_WIDENED, _PREPROCESSED, _CORRECTED = "widened.onnx", "preprocessed.onnx", "corrected.onnx"
_DRAFT, _MEASURING = "draft.onnx", "measuring.onnx"
_RANGES, _RANGES_16 = "ranges.json", "ranges_16.json"
_OPSET_16 = 21  # the first that has activations of 16 bits
_QUANTIZATION, _QNN, _CONFIG = Name("quantization"), Name("qnn"), Name("config")
_CONFIGURED = ("quant_format", "calibrate_method", "activation_type", "weight_type", "op_types_to_quantize",
               "per_channel", "use_external_data_format", "extra_options")


def run(job):
    """Writes model.onnx (with model.onnx.data beside it for large weights). Facts: `commands`, `warnings`, and for INT8
    `details`: `activations_of_16_bits`, their names.

    Raises:
        StageError: `compile_failed`: the model cannot be quantized.
    """
    try:
        return _Quantizing(job).run()
    except Exception as error:  # the toolchain's own errors: whatever it raises is its verdict on the model
        raise_if_out_of_memory(error)
        raise reasons.NOT_QUANTIZED(said=tidy(error, job)) from error


class _Quantizing:
    """The steps; what they hand on lies in the working directory."""

    def __init__(self, job):
        from onnxruntime import quantization

        from worker.platforms.qualcomm.toolkit import qnn_quantization

        self.job, self.parameters, self.samples = job, job["parameters"], job["inputs"]["calibration"]
        self.script = Script("import numpy", "from onnxruntime import quantization",
                             "from onnxruntime.quantization.execution_providers import qnn",
                             quantization=quantization, qnn=qnn_quantization)

    def run(self):
        import onnx
        from onnxruntime.quantization import calibrate

        source = self._prepare()
        model = onnx.load(source)
        self.names = [value.name for value in model_inputs(model)]
        self.unsigned = overrides.unsigned_scales(model)
        takes_16 = Graph(model).opset() >= _OPSET_16 or self.parameters["precision"] == "int16"
        limits = ranges.find_limits(model)
        self._measure(source, limits)
        self._quantize(source, _DRAFT, "QUInt16" if takes_16 else "QUInt8", _RANGES)
        self._correct(source, model)
        found = calibrate.load_tensors_data(_RANGES)
        found_16 = ranges.with_room(found, limits)
        calibrate.save_tensors_data(found_16, _RANGES_16)
        self._tell(f"{_RANGES_16}: {_RANGES}, each range {ranges.ROOM_16} times as wide, within what a Clip allows")
        target = os.path.join(self.job["output_dir"], MODEL)
        if self.parameters["precision"] == "int16":
            self._quantize(_CORRECTED, target, "QUInt16", _RANGES_16)
            return {"commands": self.script.commands, "warnings": []}
        wanted = self.parameters["mixed_precision"]
        mixed = self._mix(model, found, found_16) if wanted and takes_16 else {}
        self._quantize(_CORRECTED, target, "QUInt8", _RANGES, mixed)
        short = wanted and not takes_16
        return {"details": {"activations_of_16_bits": list(mixed)}, "commands": self.script.commands,
                "warnings": ["all activations have 8 bits: the model cannot be raised to opset 21"] if short else []}

    def _prepare(self):
        """The path of the model that is to be quantized: in single precision, in an opset that has 16-bit activations
        where it can be, and as the QNN provider wants it."""
        import onnx

        model = onnx.load(os.path.join(self.job["inputs"]["prepare"]["dir"], MODEL))
        widen(model)
        graph = Graph(raise_opset(model, _OPSET_16))
        graph.lift_constants()  # the quantizer takes initialisers alone for weights
        flatten(graph)
        del graph.model.metadata_props[:]  # `qnn_preprocess_model` raises TypeError over any
        source = os.path.abspath(_WIDENED)
        save(graph.model, source)
        self._tell(f"{_WIDENED}: {MODEL} in opset {_OPSET_16}, in single precision inside")
        changed = self.script.do(_QNN.qnn_preprocess_model(
            File(source), _PREPROCESSED, save_as_external_data=os.path.exists(source + ".data"),
            all_tensors_to_one_file=True))
        return os.path.abspath(_PREPROCESSED) if changed else source

    def _measure(self, source, limits):
        """Let `config` be the quantizer's and `reader` the calibration set; find the ranges ourselves for MinMax."""
        from onnxruntime.quantization import calibrate

        self.script.known["reader"] = _reader(calibrate.CalibrationDataReader, self._feeds(0, 30))
        self._configure(source, "QUInt8", None)
        if self.parameters["calibrate_method"] == "MinMax":
            found = ranges.measure(source, self.script.known["config"].op_types_to_quantize, self._feeds(0, 30),
                                   limits, _MEASURING)
            calibrate.save_tensors_data(found, _RANGES)
            self._tell(f"{_RANGES}: the set's least and greatest values, or three standard deviations of the samples' "
                       "own from their mean")

    def _correct(self, source, model):
        """Write the model with its weights rounded and its biases moved. `model`, from `source`, becomes that."""
        import onnx

        graph, threads = Graph(model), self.job["threads"]
        rounded = rounded_weights(graph, Graph(onnx.load(_DRAFT)))
        changed = round_together(model, rounded, _MEASURING, lambda: self._feeds(35, 50), threads)
        moved = correct(model, rounded, _MEASURING, self._feeds(50, 60), threads)
        take_weights(graph, {name: rounded[name] for name in changed})
        save(model, _CORRECTED)
        self._tell(f"{_CORRECTED}: {os.path.basename(source)}; {len(changed)} weights are rounded so that the others "
                   f"make up for what one loses over the set, and {moved} biases are less the mean of what is left")

    def _mix(self, model, found, found_16):
        """The overrides of the activations that get 16 bits."""
        import onnx

        self._quantize(_CORRECTED, _DRAFT, "QUInt16", _RANGES_16)
        total = len(self.samples["facts"]["quantize"])
        feeds = list(self._feeds(60, 60, range(0, total, max(1, total // SAMPLES))[:SAMPLES]))
        names = find(onnx.load(_DRAFT), _MEASURING, found, feeds, self.job["threads"],
                     lambda done, total: report(60 + 35 * done / total, f"{done} of {total} activations tried"))
        return overrides.overrides_16(model, names, found_16)

    def _quantize(self, source, target, activations, cache, mixed=None):
        """Write the quantized model. Its ranges are in the file `cache`, or are written to it."""
        self._configure(source, activations, mixed)
        self.script.do(_QUANTIZATION.quantize_static(
            File(source), File(target), Name("reader"), calibration_cache_path=cache,
            **{name: getattr(_CONFIG, name) for name in _CONFIGURED}))

    def _configure(self, source, activations, mixed):
        own = {**self.unsigned, **(mixed or {})}
        method = getattr(_QUANTIZATION.CalibrationMethod, self.parameters["calibrate_method"])
        self.script.let("config", _QNN.get_qnn_qdq_config(
            File(source), Name("reader"), calibrate_method=method,
            activation_type=getattr(_QUANTIZATION.QuantType, activations),
            weight_type=getattr(_QUANTIZATION.QuantType, self.parameters["weight_type"]),
            per_channel=self.parameters["per_channel"],
            init_overrides=Shown(own, overrides.tell(own)) if own else None))

    def _feeds(self, begins_at, ends_at, chosen=None):
        """The set's samples for quantizing, in their order, as `{name: array}`."""
        indices = self.samples["facts"]["quantize"]
        indices = indices if chosen is None else [indices[position] for position in chosen]
        for count, index in enumerate(indices, 1):
            yield dict(zip(self.names, calibration.read(self.samples, index)))
            report(begins_at + (ends_at - begins_at) * count / len(indices), f"{count} of {len(indices)} samples")

    def _tell(self, text):
        """What this stage does itself, as a comment among the commands."""
        self.script.commands.append("# " + text)


def _reader(base, feeds):
    class Reader(base):  # type: ignore[misc, valid-type]  # the vendor's class, imported late
        def get_next(self):
            return next(feeds, None)

    return Reader()
