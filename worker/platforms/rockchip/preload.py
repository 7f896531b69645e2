"""The imports of the RKNN environment's host. Each stage is a fork of it.

OpenBLAS would start a thread for each core at its import, of which a fork keeps none.
"""
import os
import warnings

os.environ["OPENBLAS_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)

import pkg_resources  # noqa: E402, F401  the toolkit asks it for its own version in every conversion
import rknn.api  # noqa: E402
import rknn.api.rknn_base  # noqa: E402, F401

import worker.platforms.rockchip.compile  # noqa: E402, F401
