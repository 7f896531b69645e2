"""Stage: a MagicMind model from ONNX: parser, input dimensions, builder configuration, quantisation, build, file."""
import json
import os
from functools import partial

from worker.platforms.cambricon import calibrate, config, reasons
from worker.platforms.cambricon.artefact import describe, load
from worker.platforms.cambricon.tool import Tool
from worker.stage_api import report

FILE = "model.mm"
_QUANTISED = ("int8", "int16")


def run(job):
    """Writes model.mm. Facts: files, precision, inputs and outputs as the artefact itself shows them, commands,
    warnings; `details` are MagicMind's name of the precision and how many samples a calibration read.

    Raises:
        StageError: `unsupported_operator`, `compile_failed`, `option_refused`, `calibration_needs_device`,
            `input_shape_mismatch`, `layout_mismatch`, `preprocessing_mismatch`, `dynamic_shape`, `toolchain_broken`.
    """
    import magicmind.python.runtime as mm

    parameters, optimized = job["parameters"], job["inputs"]["optimize"]["facts"]
    inputs, outputs = optimized["inputs"], optimized["outputs"]
    pieces = config.entries(parameters, inputs, outputs)
    tool = Tool(job)
    report(5, "parsing")
    network = _parse(mm, tool, job, inputs)
    builder_config = _configure(mm, tool, pieces)
    warnings, details = [], {"precision_mode": config.precision_mode(parameters)}
    if parameters["precision"] in _QUANTISED:
        report(15, "calibrating")
        details["calibration_samples"] = calibrate.quantise(mm, network, builder_config, tool, job, inputs)
    report(50, "building")
    path = os.path.join(job["output_dir"], FILE)
    _build(mm, tool, network, builder_config, path)
    report(95, "reading the artefact")
    described = _read_back(mm, path, job, inputs, outputs)
    if any(entry["dtype"] == "uint8" != was["dtype"] for entry, was in zip(described["inputs"], inputs)):
        warnings.append("with mean and std in it the artefact's image inputs are uint8: raw values 0 to 255")
    return dict(described, precision=parameters["precision"], details=details, commands=tool.commands,
                warnings=warnings)


def _parse(mm, tool, job, inputs):
    """The network with its inputs' dimensions. One that is to stay dynamic is made of the model as it was sent: in the
    optimised one the shapes are folded into constants."""
    from magicmind.python.runtime.parser import Parser

    source = "fetch" if job["parameters"]["dim_range"] else "optimize"
    path = os.path.join(job["inputs"][source]["dir"], "model.onnx")
    network = tool.call("network = mm.Network()", mm.Network, reasons.MAKE_NETWORK)
    parser = tool.call("parser = Parser(mm.ModelKind.kOnnx)", lambda: Parser(mm.ModelKind.kOnnx), reasons.MAKE_PARSER)
    tool.call("parser.parse(network, 'model.onnx')", lambda: parser.parse(network, path), reasons.PARSE)
    if network.get_input_count() != len(inputs):
        raise reasons.OTHER_INPUTS(found=network.get_input_count(), count=len(inputs))
    for position, entry in enumerate(inputs):
        shape = list(entry["shape"])
        tool.call(f"network.get_input({position}).set_dimension(mm.Dims({shape}))",
                  lambda position=position, shape=shape: network.get_input(position).set_dimension(mm.Dims(shape)),
                  reasons.GIVE_SHAPE(name=entry["name"], shape=shape), reasons.CANNOT_TAKE_SHAPE)
    return network


def _configure(mm, tool, pieces):
    built = tool.call("config = mm.BuilderConfig()", mm.BuilderConfig, reasons.MAKE_CONFIGURATION)
    for parameter, piece in pieces:
        # A machine's folder is no part of what somebody would type elsewhere.
        shown = {key: os.path.basename(value.rstrip("/")) if key == "cross_compile_toolchain_path" else value
                 for key, value in piece.items()}
        tool.call(f"config.parse_from_string({json.dumps(shown)!r})",
                  lambda piece=piece: built.parse_from_string(json.dumps(piece)),
                  reasons.TAKE_PIECE(piece=json.dumps(shown)), partial(reasons.CANNOT_TAKE_OPTION, parameter=parameter))
    return built


def _build(mm, tool, network, builder_config, path):
    builder = tool.call("builder = mm.Builder()", mm.Builder, reasons.MAKE_BUILDER)
    model = tool.call("model = builder.build_model('model', network, config)",
                      lambda: builder.build_model("model", network, builder_config), reasons.BUILD)
    report(90, "writing the artefact")
    tool.call(f"model.serialize_to_file('{FILE}')", lambda: model.serialize_to_file(path), reasons.WRITE)
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
