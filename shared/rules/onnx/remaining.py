"""Which operators are certainly left when the model reaches its target's compiler.

The stage `optimize` computes what does not depend on the inputs' values, and drops what no output needs: an operator
that a target cannot take does no harm there.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

# Of a static model their results are constants, whatever they read.
_SHAPES = {"Shape", "Size"}


@dataclass(frozen=True)
class Node:
    """A node of the main graph. `inside` are the operators of its subgraphs, `chosen_by` is what an If decides by,
    `forms` are those of `forms`."""

    operator: tuple[str, str]  # domain, type
    inputs: list[str]  # in their order, "" for one that is left out; then what its subgraphs read
    outputs: list[str]
    chosen_by: str = ""
    inside: tuple[tuple[str, str], ...] = ()
    forms: tuple[str, ...] = ()

    def to_json(self) -> list[object]:
        return [*self.operator, self.inputs, self.outputs, self.chosen_by, list(map(list, self.inside)),
                list(self.forms)]

    @classmethod
    def from_json(cls, told) -> Node:
        domain, name, inputs, outputs, chosen_by, inside, *forms = told
        return cls((domain, name), inputs, outputs, chosen_by, tuple((inner[0], inner[1]) for inner in inside),
                   tuple(forms[0]) if forms else ())

    def is_decided(self, varying: Collection[str]) -> bool:
        """Whether it is an If of which one branch alone is left: its condition is a constant, of a shape for one."""
        return bool(self.chosen_by) and self.chosen_by not in varying


def computing_nodes(nodes: Sequence[Node], inputs: Iterable[str]) -> tuple[list[Node], set[str]]:
    """The nodes that compute from the inputs, each with "" for what does not vary of its own inputs; and what varies.
    """
    varying, found = set(filter(None, inputs)), []
    for node in nodes:
        if node.operator[1] in _SHAPES:
            continue
        read = [name if name in varying else "" for name in node.inputs]
        if any(read):
            varying.update(filter(None, node.outputs))
            found.append(replace(node, inputs=read))
    return found, varying


def needed_nodes(nodes: Sequence[Node], outputs: Iterable[str], given: Collection[str] = ()) -> list[Node]:
    """Those that an output needs, where the tensors `given` need no computing."""
    needed, found = set(outputs) - set(given), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(name for name in node.inputs if name and name not in given)
            found.append(node)
    return found[::-1]


def remaining_operators(nodes: Sequence[Node], inputs: Collection[str], outputs: Iterable[str]) -> set[tuple[str, str]]:
    """Those of the main graph's nodes that compute from the inputs and are needed for an output. Of an If whose branch
    is decided nothing is certain: its branch takes its place."""
    computing, varying = computing_nodes(nodes, inputs)
    return {node.operator for node in needed_nodes(computing, outputs, inputs) if not node.is_decided(varying)}
