"""The imports of the QNN environment's host. Each stage is a fork of it.

The provider is registered and the compiler's library (106 MB) loaded here; both start no thread, and work in a fork.
"""
import ctypes

import worker.platforms.qualcomm.compile
import worker.platforms.qualcomm.package
import worker.platforms.qualcomm.prepare
import worker.platforms.qualcomm.quantize
import worker.platforms.qualcomm.verify  # noqa: F401
from worker.platforms.qualcomm.toolkit import HTP_LIBRARY

ctypes.CDLL(HTP_LIBRARY)
