"""What somebody without a service would run for SM8650: `python qualcomm.py MODEL N,C,H,W OUTPUT_DIR`.

The vendor's calls; the compiled context is loaded again and simulated on one sample, as the service does. Knows nothing
of this project.
"""
import ctypes
import os
import sys

import check  # type: ignore[import-not-found]  # the file beside it, where it runs
import onnx
import onnxruntime as ort
import onnxruntime_qnn as qnn

PROVIDER = "QNNExecutionProvider"
PROVIDER_OPTIONS = {"backend_path": qnn.get_qnn_htp_path(), "soc_model": "57", "htp_arch": "75",
                    "enable_htp_fp16_precision": "1"}

ort.register_execution_provider_library(PROVIDER, qnn.get_library_path())
ctypes.CDLL(qnn.get_qnn_htp_path())  # the compiler, which a session would load


def main(model_path, shape, output_dir):
    """Writes the EPContext model and its FP16 context binary; the exit code."""
    shape = check.parse(shape)
    os.chdir(output_dir)
    fix_shape(model_path, shape, "static.onnx")
    open_session("static.onnx", {"htp_graph_finalization_optimization_mode": "3"}, {
        "ep.context_enable": "1", "ep.context_file_path": "model_ctx.onnx", "ep.context_embed_mode": "0"})
    session = open_session("model_ctx.onnx", {}, {})
    return check.judge(model_path, check.samples(shape)[:1], lambda feed: session.run(None, {check.INPUT: feed})[0])


def fix_shape(model_path, shape, target):
    model = onnx.load(model_path)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")  # follows from the input's
    onnx.save(model, target)


def open_session(model_path, provider_options, entries):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    device = next(device for device in ort.get_ep_devices() if device.ep_name == PROVIDER)
    options.add_provider_for_devices([device], PROVIDER_OPTIONS | provider_options)
    for name, value in ({"session.disable_cpu_ep_fallback": "1"} | entries).items():
        options.add_session_config_entry(name, value)
    return ort.InferenceSession(model_path, options)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
