"""What a model's outline tells: versions, inputs and outputs, operators, stored tensors. Field numbers are those of
onnx.proto3; a message may come in several parts, which then belong together."""
from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from shared.preflight import reasons
from shared.preflight.limits import MAX_LISTED, Incomplete
from shared.preflight.remaining import Node, remaining_operators
from shared.preflight.tensors import Tensor, check_tensor, read_tensor, read_value
from shared.preflight.wire import BYTES, VARINT, Ask, Malformed, Source, signed
from shared.rules import models as rules
from shared.rules.refusal import Refusal

MODEL = {"ir_version": 1, "producer_name": 2, "producer_version": 3, "graph": 7, "opset_import": 8,
         "training_info": 20, "functions": 25}
TRAINING = {"initialization": 1, "algorithm": 2}
GRAPH = {"node": 1, "initializer": 5, "input": 11, "output": 12, "value_info": 13, "sparse_initializer": 15}
FUNCTION = {"name": 1, "node": 7, "domain": 10, "value_info": 12}
NODE = {"input": 1, "output": 2, "name": 3, "op_type": 4, "attribute": 5, "domain": 7}
ATTRIBUTE = {"t": 5, "g": 6, "tensors": 10, "graphs": 11, "sparse_tensor": 22, "sparse_tensors": 23}
SPARSE = {"values": 1, "indices": 2}


def read_model(ask: Ask, size: int) -> dict[str, Any]:
    """The facts, as JSON: those of inspect that the outline tells; `remaining` operators; `external`, for each location
    the byte that some tensor ends at, and that tensor; and `problems` of stored tensors and declared values.

    Raises:
        Refusal: what cannot be read as an ONNX model at all. Incomplete.
    """
    source = Source(ask, size)
    rules.check_size(source.size)
    rules.check_format(source.take(0, min(rules.LONGEST_MAGIC, source.size)))
    try:
        return _Header(source).read()
    except Malformed as error:
        raise rules.unreadable(source.size) from error


@dataclass
class _Graph:
    """What of a graph, a function or a subgraph those around it need."""

    nodes: list[Node] = field(default_factory=list)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    initialised: set[str] = field(default_factory=set)


class _Header:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._entries = self._nodes = self._elements = 0
        self._used: Counter[tuple[str, str]] = Counter()
        self._functions: set[tuple[str, str]] = set()
        self._external: dict[str, tuple[int, str]] = {}
        self._opsets: dict[str, int] = {}
        self._value_problem: Refusal | None = None
        self._tensor_problem: Refusal | None = None

    def read(self) -> dict[str, Any]:
        main, has_graph, texts, ir_version = _Graph(), False, {2: "", 3: ""}, 0
        for number, kind, first, last in self._fields(0, self._source.size):
            if number == MODEL["ir_version"] and kind == VARINT:
                ir_version = signed(first)
            elif kind != BYTES:
                continue
            elif number in texts:
                texts[number] = self._source.text(first, last)
            elif number == MODEL["graph"]:
                has_graph = True
                self._graph(main, first, last, GRAPH, 0)
            elif number == MODEL["opset_import"]:
                self._opset(first, last)
            elif number == MODEL["training_info"]:
                for part, part_kind, part_first, part_last in self._fields(first, last):
                    if part in TRAINING.values() and part_kind == BYTES:
                        self._graph(_Graph(), part_first, part_last, GRAPH, 0)
            elif number == MODEL["functions"]:
                self._function(first, last)
        if not has_graph or not ir_version:
            raise rules.no_graph()
        rules.check_nodes(self._nodes)
        if len(self._used) > MAX_LISTED:
            raise Incomplete(reasons.TOO_MANY_KINDS(limit=MAX_LISTED))
        inputs = [entry for entry in main.inputs if entry["name"] not in main.initialised]
        return {
            "ir_version": ir_version, "opsets": self._opsets,
            "producer": " ".join(filter(None, (texts[2], texts[3]))), "inputs": inputs, "outputs": main.outputs,
            "operators": [[*operator, count] for operator, count in sorted(self._used.items())],
            "functions": sorted(map(list, self._functions)),
            "remaining": sorted(map(list, remaining_operators(
                main.nodes, {entry["name"] for entry in inputs}, {entry["name"] for entry in main.outputs}))),
            "nodes": self._nodes, "tensor_elements": self._elements,
            "external": [[location, *rest] for location, rest in sorted(self._external.items())],
            "problems": [problem.to_json() for problem in (self._value_problem, self._tensor_problem) if problem],
        }

    def _fields(self, start: int, end: int) -> Any:
        """The fields of a model, graph or function; each is an entry."""
        for found in self._source.fields(start, end):
            self._entries += 1
            if self._entries > rules.MAX_ENTRIES:
                raise rules.too_many_entries()
            yield found

    def _opset(self, start: int, end: int) -> None:
        domain, version = "", 0
        for number, kind, first, last in self._source.fields(start, end):
            if number == 1 and kind == BYTES:
                domain = self._source.text(first, last)
            elif number == 2 and kind == VARINT:
                version = signed(first)
        self._opsets[domain or "ai.onnx"] = version
        if len(self._opsets) > MAX_LISTED:
            raise Incomplete(reasons.TOO_MANY_OPSETS(limit=MAX_LISTED))

    def _function(self, start: int, end: int) -> None:
        texts = {FUNCTION["name"]: "", FUNCTION["domain"]: ""}
        for number, kind, first, last in self._source.fields(start, end):
            if number in texts and kind == BYTES:
                texts[number] = self._source.text(first, last)
        self._functions.add((texts[FUNCTION["domain"]], texts[FUNCTION["name"]]))
        self._graph(_Graph(), start, end, FUNCTION, 0)

    def _graph(self, graph: _Graph, start: int, end: int, names: dict[str, int], depth: int) -> None:
        """Add what lies between to `graph`."""
        if depth > rules.MAX_NESTING:
            raise rules.too_deep()
        fields = {number: name for name, number in names.items()}
        for number, kind, first, last in self._fields(start, end):
            name = fields.get(number)
            if name is None or kind != BYTES:
                continue
            if name == "node":
                self._nodes += 1
                if self._nodes <= rules.MAX_NODES:  # more of them are only counted
                    graph.nodes.append(self._node(first, last, depth))
            elif name in ("input", "output", "value_info"):
                value = read_value(self._source, first, last)
                self._check_value(value)
                if name != "value_info":
                    listed = graph.inputs if name == "input" else graph.outputs
                    listed.append(value)
                    if len(listed) > MAX_LISTED:
                        raise Incomplete(reasons.TOO_MANY_VALUES[name](limit=MAX_LISTED))
            elif name == "initializer":
                tensor = read_tensor(self._source, first, last)
                graph.initialised.add(tensor.name)
                self._check_tensor(tensor.name, tensor)
            elif name == "sparse_initializer":
                self._sparse("", first, last)

    def _node(self, start: int, end: int, depth: int) -> Node:
        source, inputs, outputs, texts, attributes = self._source, [], [], {3: "", 4: "", 7: ""}, []
        for number, kind, first, last in source.fields(start, end):
            if kind != BYTES:
                continue
            if number == NODE["input"]:
                inputs.append(source.text(first, last))
            elif number == NODE["output"]:
                outputs.append(source.text(first, last))
            elif number == NODE["attribute"]:
                attributes.append((first, last))
            elif number in texts:
                texts[number] = source.text(first, last)
        operator = (texts[NODE["domain"]], texts[NODE["op_type"]])
        self._used[operator] += 1
        tensor_name = outputs[0] if outputs else texts[NODE["name"]]
        for first, last in attributes:
            inputs += self._attribute(tensor_name, first, last, depth)
        return Node(operator, inputs, outputs)

    def _attribute(self, tensor_name: str, start: int, end: int, depth: int) -> list[str]:
        """The names that its subgraphs read, which may be those of the graph around them."""
        read: list[str] = []
        for number, kind, first, last in self._source.fields(start, end):
            if kind != BYTES:
                continue
            if number in (ATTRIBUTE["g"], ATTRIBUTE["graphs"]):
                inner = _Graph()
                self._graph(inner, first, last, GRAPH, depth + 1)
                read += [name for node in inner.nodes for name in node.inputs]
                read += [entry["name"] for entry in inner.outputs]
            elif number in (ATTRIBUTE["t"], ATTRIBUTE["tensors"]):
                self._check_tensor(tensor_name, read_tensor(self._source, first, last))
            elif number in (ATTRIBUTE["sparse_tensor"], ATTRIBUTE["sparse_tensors"]):
                self._sparse(tensor_name, first, last)
        return read

    def _sparse(self, name: str, start: int, end: int) -> None:
        for number, kind, first, last in self._source.fields(start, end):
            if number in SPARSE.values() and kind == BYTES:
                tensor = read_tensor(self._source, first, last)
                self._check_tensor(name or tensor.name, tensor)

    def _check_value(self, value: dict[str, Any]) -> None:
        if self._value_problem is None:
            try:
                rules.count_elements(value["name"], [dim for dim in value["shape"] or () if isinstance(dim, int)])
            except Refusal as problem:
                self._value_problem = problem

    def _check_tensor(self, name: str, tensor: Tensor) -> None:
        """The first thing that is wrong with any stored tensor is kept."""
        try:
            count, size = check_tensor(name, tensor)
            self._elements += count
            if tensor.external:
                self._add_external(name, tensor, size)
        except Refusal as problem:
            self._tensor_problem = self._tensor_problem or problem

    def _add_external(self, name: str, tensor: Tensor, size: int) -> None:
        location = tensor.entries.get("location", "")
        at, _ = self._external.setdefault(location, (-1, name))
        if len(self._external) > rules.MAX_EXTERNAL_FILES:
            raise rules.too_many_files(len(self._external))
        offset, length = rules.external_range(name, tensor.dims, tensor.entries, size)
        if offset + length > at:
            self._external[location] = (offset + length, name)
