"""The toolkit's calls, from config to the simulator; runs in a process of its own (see `apart`)."""
import os
import re

from worker.platforms.rockchip import arguments, reasons
from worker.platforms.rockchip.loaded import Loaded
from worker.platforms.rockchip.prepare import folder_of
from worker.stages.accuracy import Gate, read_samples
from worker.stages.calls import File, Name, Script

ARTEFACT = "model.rknn"
ANALYSIS = "error_analysis.txt"
_DATASET = "dataset.txt"
_RKNN = Name("rknn")
_LAYER = re.compile(r"\[(\w+)\] +(\S+) +(\S+) +\| +(\S+) +(\S+) +\| +(\S+)")


class Refused(Exception):
    """A call answered something else than 0."""


class Toolkit:
    """An `RKNN` whose answers are checked; `script` has its calls."""

    def __init__(self):
        from rknn.api import RKNN

        self.script = Script("from rknn.api import RKNN", RKNN=RKNN)
        self.restart()

    def restart(self):
        """A fresh instance: a loaded one does not take the second step of hybrid quantization."""
        self.rknn = self.script.let("rknn", Name("RKNN")(verbose=True))

    def call(self, method, **options):
        """Raises:
            Refused: it answered an error.
        """
        answer = self.script.do(getattr(_RKNN, method)(**options))
        if answer not in (0, None):
            raise Refused(f"{method} answered {answer}")


def convert(job):
    """Writes the artefact, and runs it in the simulator.

    Facts: `commands`, `figures` (see `Gate.figures`; None where the task is not to be verified), `details` with
    `layers` if they were asked for.

    Raises:
        StageError: `preprocessing_mismatch`, `unsupported_type`, `verify_failed`, `accuracy_too_low` (outputs that
            cannot be compared).
    """
    parameters = job["parameters"]
    inputs = job["inputs"]["optimize"]["facts"]["inputs"]
    graph = Loaded(os.path.join(folder_of(job), "model.onnx"), [entry["name"] for entry in inputs])
    read = [entry for entry in inputs if entry["name"] in graph.read]
    arguments.check_inputs(read)
    _limit_threads(job["threads"])
    config = arguments.config_arguments(parameters, read)
    toolkit = Toolkit()
    toolkit.call("config", **config)
    toolkit.call("load_onnx", model=File(graph.path))
    _build(toolkit, job, config, graph)
    target = os.path.join(job["output_dir"], ARTEFACT)
    toolkit.call("export_rknn", export_path=ARTEFACT)
    os.replace(ARTEFACT, target)
    figures, details = None, {}
    if not job["inputs"]["reference"]["facts"]["skipped"]:
        figures, first = _simulate(toolkit, job, graph)
        if parameters["error_analysis"]:
            details["layers"] = _analyse(toolkit, job["output_dir"], first)
    return {"commands": toolkit.script.commands, "figures": figures, "details": details,
            "warnings": graph.warnings(arguments.is_quantized(parameters))}


def _limit_threads(count):
    import torch

    torch.set_num_threads(count)


def _build(toolkit, job, config, graph):
    parameters = job["parameters"]
    if graph.quantizing and parameters["precision"] == "int16":
        raise reasons.QUANTIZED_ALREADY(precision="int16")
    if graph.quantizing or not arguments.is_quantized(parameters):  # the tool refuses to quantise a second time
        toolkit.call("build", do_quantization=False)
        return
    _write_dataset(job, graph)
    if not parameters["custom_hybrid"]:
        toolkit.call("build", do_quantization=True, dataset=_DATASET, auto_hybrid=parameters["auto_hybrid"])
        return
    toolkit.call("hybrid_quantization_step1", dataset=_DATASET, custom_hybrid=parameters["custom_hybrid"])
    stem = os.path.splitext(os.path.basename(graph.path))[0]
    toolkit.restart()
    toolkit.call("config", **config)
    toolkit.call("hybrid_quantization_step2", model_input=stem + ".model", data_input=stem + ".data",
                 model_quantization_cfg=stem + ".quantization.cfg")


def _write_dataset(job, graph):
    """One sample a line, the files of the inputs that the model reads: the toolkit has dropped the others. Relative
    names: it splits lines at blanks."""
    entry = job["inputs"]["calibration"]
    samples = entry["facts"]["samples"]
    if not os.path.islink("calibration"):  # of an earlier run
        os.symlink(entry["dir"], "calibration")
    with open(_DATASET, "w", encoding="utf-8") as file:
        for index in entry["facts"]["quantize"]:
            file.write(" ".join("calibration/" + name for name in graph.kept(samples[index])) + "\n")


def _simulate(toolkit, job, graph):
    """`(figures of the simulator's outputs, the first sample's inputs)`."""
    import numpy as np

    reference = job["inputs"]["reference"]["facts"]
    toolkit.call("init_runtime")
    gate = Gate(reference["outputs"])
    first = None
    for kind, raw, expected in read_samples(job):
        fed = [array.astype(np.float32) if array.dtype == np.float64 else array for array in graph.kept(raw)]
        simulated = toolkit.rknn.inference(inputs=fed, data_format=["nchw"] * len(fed))
        if simulated is None:
            raise reasons.DOES_NOT_RUN()
        gate.add(kind, expected, simulated)
        first = fed if first is None else first
    return gate.figures(), first


def _analyse(toolkit, output_dir, inputs):
    """Each layer's error on the simulator for one sample, and the toolkit's own table as ANALYSIS."""
    import numpy as np

    files = [f"analysis_{index}.npy" for index in range(len(inputs))]
    for file, array in zip(files, inputs):
        np.save(file, array, allow_pickle=False)
    toolkit.call("accuracy_analysis", inputs=files, output_dir="snapshot")
    with open(os.path.join("snapshot", ANALYSIS), encoding="utf-8") as source:
        text = source.read()
    with open(os.path.join(output_dir, ANALYSIS), "w", encoding="utf-8") as copy:
        copy.write(text)
    return [{"type": kind, "name": name, "cosine": float(cosine), "euclidean": float(distance),
             "own_cosine": float(own), "own_euclidean": float(own_distance)}
            for kind, name, cosine, distance, own, own_distance in _LAYER.findall(text)]
