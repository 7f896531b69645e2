"""The walk over everything that an ONNX file holds, down to its tensors. It counts, and refuses what is too large.

A message may come in several parts, which then belong together.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.rules import models as rules
from shared.rules.onnx.remaining import Node
from shared.rules.onnx.wire import BYTES, VARINT, Malformed, Source, signed

MODEL = {"ir_version": 1, "producer_name": 2, "producer_version": 3, "graph": 7, "opset_import": 8,
         "training_info": 20, "functions": 25}
TRAINING = {"initialization": 1, "algorithm": 2}
GRAPH = {"node": 1, "initializer": 5, "input": 11, "output": 12, "value_info": 13, "sparse_initializer": 15}
FUNCTION = {"name": 1, "node": 7, "domain": 10, "value_info": 12}
NODE = {"input": 1, "output": 2, "name": 3, "op_type": 4, "attribute": 5, "domain": 7}
ATTRIBUTE = {"t": 5, "g": 6, "tensors": 10, "graphs": 11, "sparse_tensor": 22, "sparse_tensors": 23}
SPARSE = {"values": 1, "indices": 2}

_SUBGRAPHS = (ATTRIBUTE["g"], ATTRIBUTE["graphs"])
_TENSORS = (ATTRIBUTE["t"], ATTRIBUTE["tensors"])
_SPARSE_TENSORS = (ATTRIBUTE["sparse_tensor"], ATTRIBUTE["sparse_tensors"])


@dataclass
class Graph:
    """What a subclass keeps of a graph, a function or a subgraph."""

    nodes: list[Node] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    initialised: set[str] = field(default_factory=set)


class Walk:
    """One walk over one file. A subclass overrides what it wants to see."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.ir_version = self.nodes = self._entries = self._attributes = 0

    def walk(self) -> Graph:
        """What was kept of the main graph.

        Raises:
            Refusal: `model_empty`, `model_too_large`, `model_not_onnx`, `model_unreadable`, `model_too_complex`.
            Incomplete.
        """
        source = self.source
        rules.check_size(source.size)
        rules.check_format(source.take(0, min(rules.LONGEST_MAGIC, source.size)))
        try:
            main = self._model()
        except Malformed as error:
            raise rules.unreadable(source.size) from error
        if main is None or not self.ir_version:
            raise rules.no_graph()
        rules.check_nodes(self.nodes)
        return main

    # --- for subclasses ---------------------------------------------------------------------------------------------

    def model_field(self, number: int, kind: int, first: int, last: int) -> None:
        """A field of the model beside its graphs."""

    def function(self, first: int, last: int) -> None:
        self.graph(Graph(), first, last, FUNCTION, 0)

    def node(self, graph: Graph, first: int, last: int, depth: int) -> None:
        for number, kind, inner, end in self.source.fields(first, last):
            if number == NODE["attribute"] and kind == BYTES:
                self.attribute(None, inner, end, depth)

    def value(self, graph: Graph, name: str, first: int, last: int) -> None:
        """A declared value; `name` is "input", "output" or "value_info"."""

    def tensor(self, owner: str | None, first: int, last: int, graph: Graph | None = None) -> None:
        """A stored tensor: an initialiser of `graph`, or one in an attribute or in a sparse tensor. The user knows it
        by `owner` (an attribute's node), or by its own name."""

    # --- the walk ---------------------------------------------------------------------------------------------------

    def _model(self) -> Graph | None:
        main: Graph | None = None
        for number, kind, first, last in self._fields(0, self.source.size):
            if number == MODEL["ir_version"] and kind == VARINT:
                self.ir_version = signed(first)
            elif number == MODEL["graph"] and kind == BYTES:
                main = main or Graph()  # parts of one graph
                self.graph(main, first, last, GRAPH, 0)
            elif number == MODEL["training_info"] and kind == BYTES:
                for part, part_kind, part_first, part_last in self._fields(first, last):
                    if part in TRAINING.values() and part_kind == BYTES:
                        self.graph(Graph(), part_first, part_last, GRAPH, 0)
            elif number == MODEL["functions"] and kind == BYTES:
                self.function(first, last)
            else:
                self.model_field(number, kind, first, last)
        return main

    def graph(self, graph: Graph, first: int, last: int, names: dict[str, int], depth: int) -> None:
        """Add what lies between to `graph`; `names` are the fields of a graph or of a function."""
        if depth > rules.MAX_NESTING:
            raise rules.too_deep()
        fields = {number: name for name, number in names.items()}
        for number, kind, inner, end in self._fields(first, last):
            name = fields.get(number)
            if name is None or kind != BYTES:
                continue
            if name == "node":
                self.nodes += 1
                if self.nodes <= rules.MAX_NODES:  # more of them are only counted
                    self.node(graph, inner, end, depth)
            elif name in ("input", "output", "value_info"):
                self.value(graph, name, inner, end)
            elif name == "initializer":
                self.tensor(None, inner, end, graph)
            elif name == "sparse_initializer":
                self._sparse(None, inner, end)

    def attribute(self, owner: str | None, first: int, last: int, depth: int) -> list[Graph]:
        """Its subgraphs; `owner` is what the user knows the attribute's tensors by."""
        self._attributes += 1
        if self._attributes > rules.MAX_ATTRIBUTES:
            raise rules.too_many_attributes()
        subgraphs: list[Graph] = []
        for number, kind, inner, end in self.source.fields(first, last):
            if kind != BYTES:
                continue
            if number in _SUBGRAPHS:
                subgraphs.append(Graph())
                self.graph(subgraphs[-1], inner, end, GRAPH, depth + 1)
            elif number in _TENSORS:
                self.tensor(owner, inner, end)
            elif number in _SPARSE_TENSORS:
                self._sparse(owner, inner, end)
        return subgraphs

    def _sparse(self, owner: str | None, first: int, last: int) -> None:
        for number, kind, inner, end in self.source.fields(first, last):
            if number in SPARSE.values() and kind == BYTES:
                self.tensor(owner, inner, end)

    def _fields(self, first: int, last: int) -> Iterator[Any]:
        """The fields of a model, graph or function; each is an entry."""
        for found in self.source.fields(first, last):
            self.count(1)
            yield found

    def count(self, entries: int) -> None:
        self._entries += entries
        if self._entries > rules.MAX_ENTRIES:
            raise rules.too_many_entries()
