"""What somebody without a service would run for OpenVINO: `python intel.py MODEL N,C,H,W OUTPUT_DIR`.

The vendor's calls, then the accuracy check. Knows nothing of this project.
"""
import sys

import check  # type: ignore[import-not-found]  # the file beside it, where it runs

# OpenVINO's telemetry starts a process at import; without it this side is the faster one.
sys.modules.setdefault("openvino_telemetry", None)

import openvino as ov  # noqa: E402


def main(model_path, shape, output_dir):
    """Writes the FP16 IR; the exit code."""
    shape = check.parse(shape)
    model = ov.convert_model(model_path, input=[(check.INPUT, shape)])
    xml = f"{output_dir}/model.xml"
    ov.save_model(model, xml, compress_to_fp16=True)
    compiled = ov.Core().compile_model(xml, "CPU", {
        "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    return check.judge(model_path, check.samples(shape), lambda feed: compiled({check.INPUT: feed})[0])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
