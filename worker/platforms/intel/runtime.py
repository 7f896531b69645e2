"""Running artefacts on OpenVINO's CPU plugin, so that the figures are the artefact's and not the machine's.

FP32 whatever the machine's default is (bfloat16 on some), and INT8 operators as their formula says: without VNNI the
plugin's INT8 kernels saturate at 16 bits (NNCF, "OverflowFix"), which no NPU does. `LP_TRANSFORMS_MODE` is a property
of the plugin that its documents leave out (OpenVINO 2026.4, intel_cpu, config).
"""
from contextlib import contextmanager

_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}


def compile_for_cpu(ov, model, threads):
    """The `ov.Model` as it can be run."""
    return ov.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, **_EXACT})


def infer(compiled, feed):
    """The outputs for `{name: array}`, in the model's order."""
    results = compiled(feed)
    return [results[port] for port in compiled.outputs]


@contextmanager
def validating_as_verify_does(ov):
    """NNCF compiles the models whose accuracy it controls by `openvino.compile_model`, with settings of its own, before
    their weights are stored as integers. The figures have to be those of the stage verify: on the classifier of PP-OCR
    it said 0.9996 where verify saw 0.9976."""
    from openvino._offline_transformations import compress_quantize_weights_transformation

    theirs = ov.compile_model

    def compile_model(model, device_name, config):
        stored = model.clone()
        compress_quantize_weights_transformation(stored)
        return theirs(stored, device_name, {**config, **_EXACT})

    ov.compile_model = compile_model
    try:
        yield
    finally:
        ov.compile_model = theirs
