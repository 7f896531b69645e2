"""Stage: the model with quantize and dequantize nodes, as the QNN compiler wants them; ranges from the calibration set.

Activations are unsigned and asymmetric, of 8 or 16 bits (ONNX Runtime's QNN provider, "Generating a quantized model").
"""
import os

from shared.rules.models import MODEL
from worker.platforms.qualcomm import reasons
from worker.platforms.qualcomm.prepare import save
from worker.platforms.qualcomm.single_precision import widen
from worker.stage_api import report
from worker.stages import calibration
from worker.stages.calls import File, Name, Script
from worker.stages.messages import raise_if_out_of_memory, tidy

_SINGLE, _PREPROCESSED = "single.onnx", "preprocessed.onnx"
_ACTIVATIONS = {"int8": "QUInt8", "int16": "QUInt16"}
_QUANTIZATION, _QNN = Name("quantization"), Name("qnn")


def run(job):
    """Writes model.onnx (with model.onnx.data beside it for large weights). Facts: `commands`.

    Raises:
        StageError: `compile_failed`: the model cannot be quantized.
    """
    from onnxruntime import quantization

    from worker.platforms.qualcomm.toolkit import qnn_quantization

    parameters = job["parameters"]
    source = _widened(os.path.join(job["inputs"]["prepare"]["dir"], MODEL))
    outside = os.path.exists(source + ".data")
    reader = _make_reader(quantization.CalibrationDataReader, job["inputs"]["calibration"], source)
    script = Script("from onnxruntime import quantization",
                    "from onnxruntime.quantization.execution_providers import qnn",
                    quantization=quantization, qnn=qnn_quantization, reader=reader)
    try:
        changed = script.do(_QNN.qnn_preprocess_model(File(source), _PREPROCESSED, save_as_external_data=outside,
                                                      all_tensors_to_one_file=True))
        model = File(_PREPROCESSED if changed else source)
        script.let("config", _QNN.get_qnn_qdq_config(
            model, Name("reader"),
            calibrate_method=getattr(_QUANTIZATION.CalibrationMethod, parameters["calibrate_method"]),
            activation_type=getattr(_QUANTIZATION.QuantType, _ACTIVATIONS[parameters["precision"]]),
            weight_type=getattr(_QUANTIZATION.QuantType, parameters["weight_type"]),
            per_channel=parameters["per_channel"]))
        script.do(_QUANTIZATION.quantize(model, File(os.path.join(job["output_dir"], MODEL)), Name("config")))
    except Exception as error:  # the toolchain's own errors: whatever it raises is its verdict on the model
        raise_if_out_of_memory(error)
        raise reasons.NOT_QUANTIZED(said=tidy(error, job)) from error
    return {"commands": script.commands}


def _widened(source):
    """The path of the model in single precision."""
    import onnx

    model = onnx.load(source)
    if not widen(model):
        return source
    save(model, ".", _SINGLE)
    return os.path.abspath(_SINGLE)


def _make_reader(base, entry, model):
    """A reader of the set's samples for quantizing, in their order."""
    import onnx

    names = [value.name for value in onnx.load(model, load_external_data=False).graph.input]
    indices = entry["facts"]["quantize"]

    class Reader(base):  # type: ignore[misc, valid-type]  # the vendor's class, imported late
        def __init__(self):
            self.given = 0

        def get_next(self):
            if self.given == len(indices):
                return None
            arrays = calibration.read(entry, indices[self.given])
            self.given += 1
            report(90 * self.given / len(indices), f"{self.given} of {len(indices)} samples")
            return dict(zip(names, arrays))

    return Reader()
