"""OpenVINO without its telemetry: `from worker.platforms.intel.toolkit import ov`, never `import openvino`.

Importing `openvino` alone starts a thread and a process that write to HOME and call a web address (seen in 2026.4 with
openvino-telemetry 2025.2). Where that package is missing, OpenVINO takes a stub of its own; so it is told that it is.
"""
import sys

sys.modules.setdefault("openvino_telemetry", None)

import openvino as ov  # noqa: E402

__all__ = ["ov"]
