"""What a target's compiler meets of a model, where a request cuts it or fixes inputs, and which cut would help."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from shared.rules.models import shown
from shared.rules.onnx.remaining import Node, computing_nodes, needed_nodes

# What makes a network one: a cut that leaves little of it is no advice.
_HEAVY = {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "MatMul", "MatMulInteger", "QLinearMatMul", "Gemm",
          "LSTM", "GRU", "RNN", "Attention", "Einsum"}
# They move values about. Behind a cut whoever reads it does the same at no cost.
_MOVING = {"Squeeze", "Unsqueeze", "Reshape", "Flatten", "Transpose", "Identity", "Cast", "Slice", "Gather", "Split"}
_MAX_ENDS = 16  # tensors of a suggested cut


@dataclass(frozen=True)
class Cut:
    """A part of a model by the names of the tensors at its ends; `parameter` is the one that asks for it."""

    parameter: str
    tensors: tuple[str, ...]


class Part:
    """The nodes between the ends that a request names, or between those of the model."""

    def __init__(self, facts: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        nodes = [Node.from_json(told) for told in facts["graph"]]
        fixed = parameters.get("fixed_inputs") or {}
        of_model = [entry["name"] for entry in facts["inputs"]]
        self.inputs = list(parameters.get("inputs") or [name for name in of_model if name not in fixed])
        self.outputs = list(parameters.get("outputs") or [entry["name"] for entry in facts["outputs"]])
        computing, self._varying = computing_nodes(nodes, self.inputs)
        self._nodes = needed_nodes(computing, self.outputs, self.inputs)

    def operators(self) -> set[str]:
        """Those that certainly meet the compiler. Of an If whose branch is decided nothing is certain."""
        return {shown(*node.operator) for node in self._nodes if not node.is_decided(self._varying)}

    def uncertain(self) -> set[str]:
        """Those in the branches and bodies of control flow, some of which may be left."""
        return {shown(*inner) for node in self._nodes for inner in node.inside}

    def cut_around(self, refused: Collection[str]) -> Cut | None:
        """Where the part could end (or else begin) so that no operator of `refused` is in it, if most of the network
        is left then."""
        blocked = [self._is_blocked(node, refused) for node in self._nodes]
        before, after = self._before(blocked), self._after(blocked)
        whole = self._weight(self._nodes)
        for parameter, kept, ends in (("outputs", before, self._ends_of), ("inputs", after, self._begins_of)):
            if kept and 2 * self._weight(kept) >= whole:
                tensors = ends(kept)
                if 0 < len(tensors) <= _MAX_ENDS:
                    return Cut(parameter, tuple(tensors))
        return None

    def _is_blocked(self, node: Node, refused: Collection[str]) -> bool:
        return shown(*node.operator) in refused and not node.is_decided(self._varying)

    def _weight(self, nodes: list[Node]) -> int:
        heavy = any(node.operator[1] in _HEAVY for node in self._nodes)
        return sum(1 for node in nodes if not heavy or node.operator[1] in _HEAVY)

    def _before(self, blocked: list[bool]) -> list[Node]:
        """The nodes that depend on no blocked one."""
        tainted: set[str] = set()
        kept = []
        for node, is_blocked in zip(self._nodes, blocked, strict=True):
            if is_blocked or not tainted.isdisjoint(node.inputs):
                tainted.update(filter(None, node.outputs))
            else:
                kept.append(node)
        return kept

    def _after(self, blocked: list[bool]) -> list[Node]:
        """The nodes that no blocked one depends on."""
        wanted: set[str] = set()
        kept = []
        for node, is_blocked in reversed(list(zip(self._nodes, blocked, strict=True))):
            if is_blocked or not wanted.isdisjoint(node.outputs):
                wanted.update(node.inputs)
            else:
                kept.append(node)
        return kept[::-1]

    def _ends_of(self, kept: list[Node]) -> list[str]:
        """The tensors that the rest reads or the request wants, without those that are moved from others of them."""
        made = {name: node for node in kept for name in node.outputs if name}
        inside = set(map(id, kept))
        read = {name for node in self._nodes if id(node) not in inside for name in node.inputs}
        ends = [name for name in made if name in read or name in self.outputs]
        return [name for name in ends if name in self.outputs or not self._is_moved(name, made, set(ends) - {name})]

    def _is_moved(self, name: str, made: dict[str, Node], others: set[str]) -> bool:
        while name in made and made[name].operator[1] in _MOVING and len(made[name].inputs) == 1:
            name = made[name].inputs[0]
            if name in others:
                return True
        return False

    def _begins_of(self, kept: list[Node]) -> list[str]:
        made = {name for node in kept for name in node.outputs}
        return list(dict.fromkeys(name for node in kept for name in node.inputs if name not in made))
