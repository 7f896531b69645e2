"""Which operators are certainly left when the model reaches its target's compiler.

The stage `optimize` computes what does not depend on the inputs' values, and drops what no output needs: an operator
that a target cannot take does no harm there.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Of a static model their results are constants, whatever they read.
_SHAPES = {"Shape", "Size"}


@dataclass(frozen=True)
class Node:
    operator: tuple[str, str]  # domain, type
    inputs: list[str]  # what its subgraphs read included
    outputs: list[str]


def remaining_operators(nodes: Sequence[Node], inputs: set[str], outputs: set[str]) -> set[tuple[str, str]]:
    """Those of the main graph's nodes that compute from the inputs and are needed for an output."""
    varying, candidates = set(inputs), []
    for node in nodes:
        if node.operator[1] not in _SHAPES and not varying.isdisjoint(node.inputs):
            varying.update(filter(None, node.outputs))
            candidates.append(node)
    needed, found = set(outputs), set()
    for node in reversed(candidates):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
            found.add(node.operator)
    return found
