"""What reading an outline may cost; what a model may hold stands in `shared.rules.models`."""
from __future__ import annotations

from shared.rules.bilingual import Bilingual

MAX_READ_BYTES = 64 << 20  # by byte ranges from an object store
MAX_TEXT_BYTES = 4096  # a name in the model
MAX_LISTED = 1000  # inputs, outputs, domains, dimensions, external files, kinds of operators
MAX_GRAPH_BYTES = 512 << 10  # what is told of the nodes: a network of some ten thousand


class Incomplete(Exception):
    """The check stopped at one of its own bounds, `text` says which; what it did not see may be good or bad."""

    def __init__(self, text: Bilingual) -> None:
        super().__init__(text.en)
        self.text = text
