"""OpenVINO and NNCF without their telemetry: `from worker.platforms.intel.toolkit import ov`, never `import openvino`.

Importing `openvino` alone starts a thread and a process that write to HOME and call a web address (seen in 2026.4 with
openvino-telemetry 2025.2). Where that package is missing, OpenVINO and NNCF take stubs of their own; so they are told
that it is.
"""
import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how Python says: not there

import openvino as ov  # noqa: E402

__all__ = ["load_nncf", "ov"]


def load_nncf():
    """The quantizer's module, which only its own stage needs."""
    import nncf

    return nncf
