"""The imports of the OpenVINO environment's host. Each stage is a fork of it, and finds everything in place.

Loads the libraries that conversion, quantization and compilation would load, and starts no thread: a fork keeps none.
"""
import ctypes
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy's and SciPy's each start a thread for each core at their import

import worker.platforms.intel.compile
import worker.platforms.intel.quantize
import worker.platforms.intel.verify  # noqa: F401
from worker.platforms.intel.toolkit import load_nncf, ov

load_nncf()
ov.frontend.FrontEndManager().load_by_framework("onnx")
ctypes.CDLL(os.path.join(os.path.dirname(ov.__file__), "libs", "libopenvino_intel_cpu_plugin.so"))
