"""Stage: the model with INT8 operators, by NNCF from the calibration set; nothing is baked into its inputs yet."""
import os
import tempfile

from worker.platforms.intel import precisions, reasons
from worker.platforms.intel.convert import MODEL, OPENVINO, convert
from worker.platforms.intel.quantizer import quantizer_call, with_biases
from worker.platforms.intel.runtime import infer, validating_as_verify_does
from worker.stage_api import StageError, report
from worker.stages import calibration
from worker.stages.accuracy import Gate, read_samples
from worker.stages.calls import File, Script, Shown
from worker.stages.feeds import CALIBRATION, OWN
from worker.stages.messages import raise_if_out_of_memory, tidy
from worker.stages.preprocess import channel_axis, constants, to_model

XML = "quantized.xml"
_HALF = "half.xml"
_MAX_NAMED = 200


def run(job):
    """Writes quantized.xml and quantized.bin.

    Facts: `details` (`operators`: {precision: {type: count}}, `in_floating_point`: the names of operators that could
    be INT8 and are not), `commands`, `warnings`.

    Raises:
        StageError: `unsupported_operator`, `compile_failed`, `tensor_not_found` (ignored_scope).
    """
    from worker.platforms.intel.toolkit import load_nncf, ov

    nncf = load_nncf()

    options, to_fp16 = job["parameters"]["quantization"], job["parameters"]["compress_to_fp16"] is not False
    script = Script(openvino=ov, nncf=nncf)
    convert(script, job)
    if to_fp16:
        _compress(script)
    report(5, "calibrating")
    script.let("dataset", Shown(_samples(nncf, job), _tell_dataset(job)))
    if options["accuracy_control"] is not None:
        script.known.update(reference=nncf.Dataset(_references(job)), least_cosine=_least_cosine(job))
    with validating_as_verify_does(ov):
        model = _quantize(script, options, job)
    report(95, "saving")
    script.do(OPENVINO.save_model(MODEL, File(os.path.join(job["output_dir"], XML)), compress_to_fp16=False))
    operators, floating = precisions.count(model)
    warnings = [] if operators["int8"] else [
        "nothing in the model can be quantized: the artefact computes in floating point"]
    return {"details": {"operators": operators, "in_floating_point": floating[:_MAX_NAMED]}, "warnings": warnings,
            "commands": script.commands}


def _compress(script):
    """Let `model` be the same model with its weights in FP16, as an IR that was saved so. Later would be too late:
    `compress_to_fp16` does nothing, and says nothing, to a model that has quantizers (OpenVINO 2026.4)."""
    with tempfile.TemporaryDirectory() as folder:
        half = File(os.path.join(folder, _HALF))
        script.do(OPENVINO.save_model(MODEL, half, compress_to_fp16=True))
        script.let("model", OPENVINO.Core().read_model(half))


def _samples(nncf, job):
    """The calibration set's samples for the quantizer, as the model takes them; read when they are needed."""
    inputs, entry = job["inputs"]["optimize"]["facts"]["inputs"], job["inputs"]["calibration"]
    total = len(entry["facts"]["samples"])

    def read(index):
        report(5 + 60 * index / total, f"sample {index + 1} of {total}")
        return _feed(job, inputs, calibration.read(entry, index))

    return nncf.Dataset(entry["facts"]["quantize"], read)


def _feed(job, inputs, raw):
    return {entry["name"]: to_model(job["parameters"], entry, array) for entry, array in zip(inputs, raw)}


def _references(job):
    """`(feed, expected outputs)` of the samples by which the accuracy check judges: the calibration set's or the
    client's own."""
    inputs = job["inputs"]["reference"]["facts"]["inputs"]
    return [(_feed(job, inputs, raw), expected) for kind, raw, expected in read_samples(job)
            if kind in (CALIBRATION, OWN)]


def _least_cosine(job):
    """NNCF's validation function: what the gate will judge, the worst output's cosine over all samples."""
    outputs = job["inputs"]["reference"]["facts"]["outputs"]

    def least_cosine(compiled, samples):
        gate = Gate(outputs)
        for feed, expected in samples:
            gate.add(CALIBRATION, expected, infer(compiled, feed))
        cosine = min(-1.0 if entry["not_finite_mismatch"] else entry.get("agreement", entry["cosine"])
                     for entry in gate.figures()["calibrated"])
        report(70, f"accuracy control: cosine {cosine:.6f}")
        return cosine, None

    return least_cosine


def _tell_dataset(job):
    """How one would make the quantizer's samples of the files of the stage `calibration`; the stage reads them one by
    one, and tells its progress."""
    indices = job["inputs"]["calibration"]["facts"]["quantize"]
    numbers = f"range({len(indices)})" if indices == list(range(len(indices))) else repr(indices)
    values = []
    for position, entry in enumerate(job["inputs"]["optimize"]["facts"]["inputs"]):
        value = f"numpy.load(f'{{number:05d}}_{position}.npy')"
        found = constants(job["parameters"], entry)
        if found is not None:
            shape = [1] * len(entry["shape"])
            shape[channel_axis(entry["shape"])] = -1
            mean, std = (f"numpy.float32({given}).reshape({shape})" for given in found)
            value = f"({value} - {mean}) / {std}"
        values.append(f"{entry['name']!r}: {value}")
    return f"nncf.Dataset([{{{', '.join(values)}}} for number in {numbers}])"


def _quantize(script, options, job):
    nncf, operators = script.known["nncf"], script.known["model"].get_ops()
    call = quantizer_call(with_biases(options, {node.get_friendly_name() for node in operators}))
    try:
        return script.let("model", call)
    except nncf.ValidationError as error:
        raise reasons.WRONG_SCOPE(said=tidy(error, job)) from error
    except StageError:
        raise
    except Exception as error:  # NNCF's and OpenVINO's errors share no base class
        raise_if_out_of_memory(error)
        raise reasons.NOT_QUANTIZED(said=tidy(error, job)) from error
