"""ONNX Runtime on the CPU, for what is measured before the compiler runs."""
from worker.platforms.qualcomm.saving import save


def open_on_cpu(model, path, threads):
    """A session of the model, which is written to `path`: one above 2 GiB cannot be handed over otherwise. Nothing is
    folded or fused, so that quantizers compute what they say."""
    import onnxruntime

    save(model, path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
