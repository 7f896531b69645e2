"""Stage: the model with quantize and dequantize nodes, as the QNN compiler wants them; ranges from the calibration set.

Activations are unsigned and asymmetric, of 8 or 16 bits (ONNX Runtime's QNN provider, "Generating a quantized model").
"""
import os

from shared.rules.models import MODEL
from worker.platforms.qualcomm import reasons
from worker.platforms.qualcomm.biases import correct
from worker.platforms.qualcomm.ranges import with_room
from worker.platforms.qualcomm.saving import save
from worker.platforms.qualcomm.single_precision import widen
from worker.stage_api import report
from worker.stages import calibration
from worker.stages.calls import File, Name, Script
from worker.stages.messages import raise_if_out_of_memory, tidy

_SINGLE, _PREPROCESSED, _CORRECTED = "single.onnx", "preprocessed.onnx", "corrected.onnx"
_DRAFT, _MEASURING = "draft.onnx", "measuring.onnx"
_RANGES, _RANGES_16 = "ranges.json", "ranges_16.json"
_TYPES = {"int8": "QUInt8", "int16": "QUInt16"}
_QUANTIZATION, _QNN, _CONFIG = Name("quantization"), Name("qnn"), Name("config")


def run(job):
    """Writes model.onnx (with model.onnx.data beside it for large weights). Facts: `commands`.

    Raises:
        StageError: `compile_failed`: the model cannot be quantized.
    """
    try:
        return _Quantizing(job).run()
    except Exception as error:  # the toolchain's own errors: whatever it raises is its verdict on the model
        raise_if_out_of_memory(error)
        raise reasons.NOT_QUANTIZED(said=tidy(error, job)) from error


class _Quantizing:
    """The steps; files lie in the working directory."""

    def __init__(self, job):
        from onnxruntime import quantization

        from worker.platforms.qualcomm.toolkit import qnn_quantization

        self.job, self.parameters, self.samples = job, job["parameters"], job["inputs"]["calibration"]
        self.types = quantization.QuantType
        self.script = Script("from onnxruntime import quantization",
                             "from onnxruntime.quantization.execution_providers import qnn",
                             quantization=quantization, qnn=qnn_quantization)

    def run(self):
        import onnx

        source = self._prepare()
        self.script.known["reader"] = self._reader(source)
        # The draft has the weights rounded as they will be; the ranges are found on the way, once for all.
        self._quantize(source, _DRAFT, "QUInt16", _RANGES)
        model = onnx.load(source)
        count = correct(model, onnx.load(_DRAFT), _MEASURING, self._feeds(source), self.job["threads"])
        save(model, _CORRECTED)
        self._tell(f"{_CORRECTED}: {os.path.basename(source)}, {count} biases less the mean, over the calibration set, "
                   "of what rounding the weights adds to the output")
        report(70, "quantizing")
        with_room(_RANGES, _RANGES_16)
        self._tell(f"{_RANGES_16}: {_RANGES}, each range twice as wide")
        ranges = _RANGES if self.parameters["precision"] == "int8" else _RANGES_16
        self._quantize(_CORRECTED, os.path.join(self.job["output_dir"], MODEL), _TYPES[self.parameters["precision"]],
                       ranges)
        return {"commands": self.script.commands}

    def _prepare(self):
        """The path of the model that is to be quantized: in single precision, and as the QNN provider wants it."""
        import onnx

        source = os.path.join(self.job["inputs"]["prepare"]["dir"], MODEL)
        model = onnx.load(source)
        if widen(model):
            source = os.path.abspath(_SINGLE)
            save(model, source)
            self._tell(f"{_SINGLE}: {MODEL}, in single precision inside")
        changed = self.script.do(_QNN.qnn_preprocess_model(
            File(source), _PREPROCESSED, save_as_external_data=os.path.exists(source + ".data"),
            all_tensors_to_one_file=True))
        return os.path.abspath(_PREPROCESSED) if changed else source

    def _quantize(self, source, target, activations, ranges):
        """Write the quantized model; `ranges` are taken from that file, or written to it where there is none."""
        method = getattr(_QUANTIZATION.CalibrationMethod, self.parameters["calibrate_method"])
        self.script.let("config", _QNN.get_qnn_qdq_config(
            File(source), Name("reader"), calibrate_method=method,
            activation_type=getattr(_QUANTIZATION.QuantType, activations),
            weight_type=getattr(_QUANTIZATION.QuantType, self.parameters["weight_type"]),
            per_channel=self.parameters["per_channel"]))
        given = ("quant_format", "calibrate_method", "activation_type", "weight_type", "op_types_to_quantize",
                 "per_channel", "use_external_data_format", "extra_options")
        self.script.do(_QUANTIZATION.quantize_static(
            File(source), File(target), Name("reader"), calibration_cache_path=ranges,
            **{name: getattr(_CONFIG, name) for name in given}))

    def _feeds(self, source, part=50.0):
        """The set's samples for quantizing, in their order, as `{name: array}`."""
        import onnx

        names = [value.name for value in onnx.load(source, load_external_data=False).graph.input]
        indices = self.samples["facts"]["quantize"]
        for count, index in enumerate(indices, 1):
            yield dict(zip(names, calibration.read(self.samples, index)))
            report(part * count / len(indices), f"{count} of {len(indices)} samples")

    def _reader(self, source):
        from onnxruntime.quantization import CalibrationDataReader

        feeds = self._feeds(source)

        class Reader(CalibrationDataReader):
            def get_next(self):
                return next(feeds, None)

        return Reader()

    def _tell(self, text):
        """What is done by ourselves, as a comment among the commands."""
        self.script.commands.append("# " + text)
