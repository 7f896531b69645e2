"""Stage: a MagicMind model from ONNX: parser, input dimensions, builder configuration, quantization, build, file."""
import json
import os
from functools import partial

from shared.rules.models import MODEL
from worker.platforms.cambricon import calibrate, config, reasons
from worker.platforms.cambricon.artefact import describe, load
from worker.platforms.cambricon.tool import CONFIG, MM, NETWORK, Tool
from worker.stage_api import report
from worker.stages.asked import model_folder
from worker.stages.calls import File, Name, Shown

FILE = "model.mm"
_QUANTIZED = ("int8", "int16")


def run(job):
    """Writes model.mm. Facts: files, precision, inputs and outputs as the artefact itself shows them, commands,
    warnings; `details` are MagicMind's name of the precision and how many samples a calibration read.

    Raises:
        StageError: `unsupported_operator`, `compile_failed`, `option_refused`, `calibration_needs_device`,
            `input_shape_mismatch`, `layout_mismatch`, `preprocessing_mismatch`, `dynamic_shape`, `toolchain_broken`.
    """
    import magicmind.python.runtime as mm
    from magicmind.python.runtime.parser import Parser

    parameters, optimized = job["parameters"], job["inputs"]["optimize"]["facts"]
    inputs, outputs = optimized["inputs"], optimized["outputs"]
    pieces = config.entries(parameters, inputs, outputs)
    tool = Tool(job, mm=mm, Parser=Parser)
    report(5, "parsing")
    _parse(tool, job, inputs)
    _configure(tool, pieces)
    warnings, details = [], {"precision_mode": config.precision_mode(parameters)}
    if parameters["precision"] in _QUANTIZED:
        report(15, "calibrating")
        details["calibration_samples"] = calibrate.quantize(mm, tool, job, inputs)
    report(50, "building")
    path = os.path.join(job["output_dir"], FILE)
    _build(tool, path)
    report(95, "reading the artefact")
    described = _read_back(mm, path, job, inputs, outputs)
    if any(entry["dtype"] == "uint8" != was["dtype"] for entry, was in zip(described["inputs"], inputs)):
        warnings.append("with mean and std in it the artefact's image inputs are uint8: raw values 0 to 255")
    return dict(described, precision=parameters["precision"], details=details, commands=tool.script.commands,
                warnings=warnings)


def _parse(tool, job, inputs):
    """Let `network` be the network with its inputs' dimensions. One that is to stay dynamic is made of the model as it
    was sent: in the optimised one the shapes are folded into constants."""
    folder = model_folder(job) if job["parameters"]["dim_range"] else job["inputs"]["optimize"]["dir"]
    path = os.path.join(folder, MODEL)
    network = tool.let("network", MM.Network(), reasons.MAKE_NETWORK)
    tool.let("parser", Name("Parser")(MM.ModelKind.kOnnx), reasons.MAKE_PARSER)
    tool.do(Name("parser").parse(NETWORK, File(path)), reasons.PARSE)
    if network.get_input_count() != len(inputs):
        raise reasons.OTHER_INPUTS(found=network.get_input_count(), count=len(inputs))
    for position, entry in enumerate(inputs):
        shape = list(entry["shape"])
        tool.do(NETWORK.get_input(position).set_dimension(MM.Dims(shape)),
                reasons.GIVE_SHAPE(name=entry["name"], shape=shape), reasons.CANNOT_TAKE_SHAPE)


def _configure(tool, pieces):
    """Let `config` be the builder's configuration."""
    tool.let("config", MM.BuilderConfig(), reasons.MAKE_CONFIGURATION)
    for parameter, piece in pieces:
        # A machine's folder is no part of what somebody would type elsewhere.
        shown = json.dumps({key: os.path.basename(value.rstrip("/")) if key == "cross_compile_toolchain_path" else value
                            for key, value in piece.items()})
        tool.do(CONFIG.parse_from_string(Shown(json.dumps(piece), repr(shown))), reasons.TAKE_PIECE(piece=shown),
                partial(reasons.CANNOT_TAKE_OPTION, parameter=parameter))


def _build(tool, path):
    tool.let("builder", MM.Builder(), reasons.MAKE_BUILDER)
    tool.let("model", Name("builder").build_model("model", NETWORK, CONFIG), reasons.BUILD)
    report(90, "writing the artefact")
    tool.do(Name("model").serialize_to_file(File(path)), reasons.WRITE)
    if not os.path.isfile(path) or not os.path.getsize(path):
        raise reasons.NO_FILE()


def _read_back(mm, path, job, inputs, outputs):
    """Inputs and outputs of the artefact on disk; that the tool says that it succeeded is no proof."""
    described = describe(mm, load(mm, path, job, reasons.UNREADABLE))
    for kind, wanted in (("inputs", inputs), ("outputs", outputs)):
        if len(described[kind]) != len(wanted):
            raise reasons.OTHER_ENDS(found=len(described[kind]), kind=reasons.ENDS[kind], count=len(wanted))
    if not job["parameters"]["dim_range"]:
        dynamic = [entry["name"] for entry in described["inputs"] if None in entry["shape"]]
        if dynamic:
            raise reasons.STILL_DYNAMIC(names=", ".join(dynamic))
    return described
