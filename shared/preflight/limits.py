"""What the check of a header may cost, and what the locked onnx reads (a test compares them); what a model may hold
stands in `shared.rules`."""
from __future__ import annotations

from shared.rules.bilingual import Bilingual

MAX_IR_VERSION = 14
MAX_OPSET = 28

# Of one check. Beyond them it answers what it has seen by then, and that it is not all.
MAX_READ_BYTES = 64 << 20
MAX_RANGE_BYTES = 1 << 20
MAX_TEXT_BYTES = 4096  # a name in the model
MAX_LISTED = 1000  # inputs, outputs, domains, dimensions, external files, kinds of operators
MAX_ARRAYS = 64  # of a calibration set, whose headers are looked at
CHILD_MEMORY_BYTES = 512 << 20
CHILD_CPU_S = 10


class Incomplete(Exception):
    """The check stopped at one of its own bounds, `text` says which; what it did not see may be good or bad."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text
