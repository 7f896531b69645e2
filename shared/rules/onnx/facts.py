"""What the preflight tells from a model's outline: versions, inputs and outputs, operators, stored tensors."""
from __future__ import annotations

from collections import Counter
from typing import Any

from shared.rules import models as rules
from shared.rules.onnx.bounds import MAX_GRAPH_BYTES, MAX_LISTED, Incomplete
from shared.rules.onnx.forms import read_forms
from shared.rules.onnx.remaining import Node, computing_nodes, remaining_operators
from shared.rules.onnx.tensors import Tensor, check_tensor, read_tensor, read_value
from shared.rules.onnx.walk import FUNCTION, MODEL, NODE, Graph, Walk
from shared.rules.onnx.wire import BYTES, VARINT, Ask, Source, signed
from shared.rules.reasons import outline as reasons
from shared.rules.refusal import Refusal

_TEXTS = (MODEL["producer_name"], MODEL["producer_version"])


def read_facts(ask: Ask, size: int) -> dict[str, Any]:
    """The facts, as JSON: those of inspect that the outline tells; `remaining` operators; `graph`, the nodes that
    compute from the inputs (None where that is too much to tell); `external`, for each location the byte that some
    tensor ends at, and that tensor; and `problems` of stored tensors and declared values.

    Raises:
        Refusal: what cannot be read as an ONNX model at all. Incomplete.
    """
    return _Facts(Source(ask, size)).read()


def _told(nodes: list[Node]) -> list[Any] | None:
    size = sum(len(name) + 4 for node in nodes for name in (*node.operator, *node.inputs, *node.outputs, *node.forms))
    return [node.to_json() for node in nodes] if size <= MAX_GRAPH_BYTES else None


class _Facts(Walk):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._elements = 0
        self._producer = dict.fromkeys(_TEXTS, "")
        self._used: Counter[tuple[str, str]] = Counter()
        self._functions: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
        self._in_graph: Counter[tuple[str, str]] = Counter()
        self._body = self._in_graph  # of the graph or the function that is walked
        self._external: dict[str, tuple[int, str]] = {}
        self._opsets: dict[str, int] = {}
        self._value_problem: Refusal | None = None
        self._tensor_problem: Refusal | None = None

    def read(self) -> dict[str, Any]:
        main = self.walk()
        rules.check_expansion(self._in_graph, self._functions)
        if len(self._used) > MAX_LISTED:
            raise Incomplete(reasons.TOO_MANY_KINDS(limit=MAX_LISTED))
        inputs = [entry for entry in main.inputs if entry["name"] not in main.initialised]
        names, outputs = {entry["name"] for entry in inputs}, {entry["name"] for entry in main.outputs}
        return {
            "ir_version": self.ir_version, "opsets": self._opsets,
            "producer": " ".join(filter(None, self._producer.values())), "inputs": inputs, "outputs": main.outputs,
            "operators": [[*operator, count] for operator, count in sorted(self._used.items())],
            "functions": sorted(map(list, self._functions)),
            "remaining": sorted(map(list, remaining_operators(main.nodes, names, outputs))),
            "graph": _told(computing_nodes(main.nodes, names)[0]),
            "nodes": self.nodes, "tensor_elements": self._elements,
            "external": [[location, *rest] for location, rest in sorted(self._external.items())],
            "problems": [problem.to_json() for problem in (self._value_problem, self._tensor_problem) if problem],
        }

    def model_field(self, number: int, kind: int, first: int, last: int) -> None:
        if kind == BYTES and number in self._producer:
            self._producer[number] = self.source.text(first, last)
        elif kind == BYTES and number == MODEL["opset_import"]:
            self._opset(first, last)

    def _opset(self, first: int, last: int) -> None:
        domain, version = "", 0
        for number, kind, inner, end in self.source.fields(first, last):
            if number == 1 and kind == BYTES:
                domain = self.source.text(inner, end)
            elif number == 2 and kind == VARINT:
                version = signed(inner)
        self._opsets[domain or "ai.onnx"] = version
        if len(self._opsets) > MAX_LISTED:
            raise Incomplete(reasons.TOO_MANY_OPSETS(limit=MAX_LISTED))

    def function(self, first: int, last: int) -> None:
        texts = {FUNCTION["name"]: "", FUNCTION["domain"]: ""}
        for number, kind, inner, end in self.source.fields(first, last):
            if number in texts and kind == BYTES:
                texts[number] = self.source.text(inner, end)
        self._body = self._functions[texts[FUNCTION["domain"]], texts[FUNCTION["name"]]] = Counter()
        super().function(first, last)
        self._body = self._in_graph

    def node(self, graph: Graph, first: int, last: int, depth: int) -> None:
        source, inputs, outputs, attributes = self.source, [], [], []
        texts = {NODE["name"]: "", NODE["op_type"]: "", NODE["domain"]: ""}
        for number, kind, inner, end in source.fields(first, last):
            if kind != BYTES:
                continue
            if number == NODE["input"]:
                inputs.append(source.text(inner, end))
            elif number == NODE["output"]:
                outputs.append(source.text(inner, end))
            elif number == NODE["attribute"]:
                attributes.append((inner, end))
            elif number in texts:
                texts[number] = source.text(inner, end)
        operator = (texts[NODE["domain"]], texts[NODE["op_type"]])
        self._used[operator] += 1
        self._body[operator] += 1
        owner = outputs[0] if outputs else texts[NODE["name"]]
        chosen_by = inputs[0] if inputs and operator[1] == "If" else ""
        inside: set[tuple[str, str]] = set()
        forms = read_forms(source, operator, attributes, inputs, outputs)
        for inner, end in attributes:
            for subgraph in self.attribute(owner, inner, end, depth):
                # The names that a subgraph reads may be those of the graph around it.
                inputs += [name for node in subgraph.nodes for name in node.inputs if name]
                inputs += [entry["name"] for entry in subgraph.outputs]
                inside.update(inner for node in subgraph.nodes for inner in (node.operator, *node.inside))
        graph.nodes.append(Node(operator, inputs, outputs, chosen_by, tuple(sorted(inside)), forms))

    def value(self, graph: Graph, name: str, first: int, last: int) -> None:
        value = read_value(self.source, first, last)
        self._check_value(value)
        if name != "value_info":
            listed = graph.inputs if name == "input" else graph.outputs
            listed.append(value)
            if len(listed) > MAX_LISTED:
                raise Incomplete(reasons.TOO_MANY_VALUES[name](limit=MAX_LISTED))

    def _check_value(self, value: dict[str, Any]) -> None:
        if self._value_problem is None:
            try:
                rules.count_elements(value["name"], [dim for dim in value["shape"] or () if isinstance(dim, int)])
            except Refusal as problem:
                self._value_problem = problem

    def tensor(self, owner: str | None, first: int, last: int, graph: Graph | None = None) -> None:
        tensor = read_tensor(self.source, first, last)
        if graph is not None:
            graph.initialised.add(tensor.name)
        name = tensor.name if owner is None else owner
        try:
            count, size = check_tensor(name, tensor)
            self._elements += count
            if tensor.external:
                self._add_external(name, tensor, size)
        except Refusal as problem:
            self._tensor_problem = self._tensor_problem or problem  # the first of any is told

    def _add_external(self, name: str, tensor: Tensor, size: int) -> None:
        location = tensor.entries.get("location", "")
        at, _ = self._external.setdefault(location, (-1, name))
        if len(self._external) > rules.MAX_EXTERNAL_FILES:
            raise rules.too_many_files(len(self._external))
        offset, length = rules.external_range(name, tensor.dims, tensor.entries, size)
        if offset + length > at:
            self._external[location] = (offset + length, name)
