"""What the host of the OpenVINO environment imports once: each stage is a fork of it and finds everything in place.

Loads the libraries that conversion and compilation would load (15 ms), and starts no thread: a fork keeps none.
"""
import ctypes
import os

import worker.platforms.intel.compile
import worker.platforms.intel.verify  # noqa: F401
from worker.platforms.intel.toolkit import ov

ov.frontend.FrontEndManager().load_by_framework("onnx")
ctypes.CDLL(os.path.join(os.path.dirname(ov.__file__), "libs", "libopenvino_intel_cpu_plugin.so"))
