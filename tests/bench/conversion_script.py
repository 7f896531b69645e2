"""What somebody without a service would run: `python conversion_script.py MODEL N,C,H,W OUTPUT_DIR`.

The vendor's calls, then the accuracy check on as many samples as the service takes: seeded ones, zeros and ones.
Ends with 1 where the cosine is below 0.99. Knows nothing of this project.
"""
import sys

# OpenVINO's telemetry starts a process at import; without it this side is the faster one.
sys.modules.setdefault("openvino_telemetry", None)

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import openvino as ov  # noqa: E402


def convert(model_path, shape, output_dir, samples=3):
    """Write the FP16 IR to `output_dir`; the cosine of its outputs and ONNX Runtime's, all samples together."""
    model = ov.convert_model(model_path, input=[("x", shape)])
    xml = f"{output_dir}/model.xml"
    ov.save_model(model, xml, compress_to_fp16=True)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_path, options, providers=["CPUExecutionProvider"])
    compiled = ov.Core().compile_model(xml, "CPU", {
        "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    dot = expected_square = actual_square = 0.0
    for feed in inputs(shape, samples):
        expected = session.run(None, {"x": feed})[0].ravel().astype(np.float64)
        actual = compiled({"x": feed})[0].ravel().astype(np.float64)
        dot += expected @ actual
        expected_square += expected @ expected
        actual_square += actual @ actual
    return float(dot / np.sqrt(expected_square * actual_square))


def inputs(shape, samples):
    for seed in range(samples):
        yield np.random.default_rng(seed).random(shape, np.float32)
    yield np.zeros(shape, np.float32)
    yield np.ones(shape, np.float32)


def main(model_path, shape, output_dir):
    cosine = convert(model_path, [int(size) for size in shape.split(",")], output_dir)
    if cosine < 0.99:
        print(f"cosine {cosine:.6f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
