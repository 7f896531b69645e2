"""What a model may hold, and what the check of its header may cost.

The upper part is the stages' own (`worker.stages.onnx_limits`, `worker.stages.calibration_files`) and what the locked
onnx reads; tests compare them.
"""
from __future__ import annotations

MAX_IR_VERSION = 14
MAX_OPSET = 28
MAX_PROTO_BYTES = 2**31 - 1
MAX_ENTRIES = 1000000  # nodes, initialisers, value infos, … of all graphs together
MAX_NODES = 200000
MAX_NESTING = 16  # subgraphs within subgraphs
MAX_TENSOR_ELEMENTS = 2**30
MAX_EXTERNAL_FILES = 10000
MAX_SET_FILES = 10_000
MAX_SET_BYTES = 8 << 30

# Of one check. Beyond them it answers what it has seen by then, and that it is not all.
MAX_READ_BYTES = 64 << 20
MAX_RANGE_BYTES = 1 << 20
MAX_TEXT_BYTES = 4096  # a name in the model
MAX_LISTED = 1000  # inputs, outputs, domains, dimensions, external files, kinds of operators
MAX_ARRAYS = 64  # of a calibration set, whose headers are looked at
CHILD_MEMORY_BYTES = 512 << 20
CHILD_CPU_S = 10


class Problem(Exception):
    """The input cannot be converted; as a stage would say it."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


class Incomplete(Exception):
    """The check stopped at one of its own bounds; what it did not see may be good or bad."""
