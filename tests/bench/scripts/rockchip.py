"""What somebody without a service would run for rk3588: `python rockchip.py MODEL N,C,H,W OUTPUT_DIR`.

The vendor's calls, its simulator for the accuracy check. Knows nothing of this project.
"""
import os
import sys

import check  # type: ignore[import-not-found]  # the file beside it, where it runs
import pkg_resources  # noqa: F401  these two are what the first conversion would import
import rknn.api.rknn_base  # noqa: F401
import torch
from rknn.api import RKNN


def main(model_path, shape, output_dir):
    """Writes the FP16 RKNN; the exit code."""
    shape = check.parse(shape)
    os.chdir(output_dir)  # the toolkit leaves files in the working directory
    torch.set_num_threads(1)
    rknn = RKNN()
    for answer in (rknn.config(target_platform="rk3588", float_dtype="float16", optimization_level=3),
                   rknn.load_onnx(model=model_path, inputs=[check.INPUT], input_size_list=[shape]),
                   rknn.build(do_quantization=False), rknn.export_rknn("model.rknn"), rknn.init_runtime()):
        if answer:
            return 1
    return check.judge(model_path, check.samples(shape),
                       lambda feed: rknn.inference(inputs=[feed], data_format=["nchw"])[0])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
