"""What the preflight of one request may cost, and the newest versions that the locked onnx reads (a test compares
them)."""
from __future__ import annotations

MAX_IR_VERSION = 14
MAX_OPSET = 28

MAX_RANGE_BYTES = 1 << 20
MAX_ARRAYS = 64  # of a calibration set, whose headers are looked at
CHILD_MEMORY_BYTES = 512 << 20
CHILD_CPU_S = 10
NICENESS = 10  # of the child: whoever answers other requests comes first
