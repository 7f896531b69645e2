"""What a target's compiler meets of a model, where a request cuts it or fixes inputs, and which cut would help."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.platforms.base import Operators
from shared.preflight.kinds import DECIDING, HEAVY, MOVING, OTHER_TYPES, SCORES
from shared.rules.models import shown
from shared.rules.onnx.remaining import Node, computing_nodes, needed_nodes

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
        computing, varying = computing_nodes(nodes, self.inputs)
        self._nodes = needed_nodes(computing, self.outputs, self.inputs)
        self.read = {name for node in self._nodes for name in node.inputs if name}
        self._decided = {id(node) for node in self._nodes if node.is_decided(varying)}

    def computes(self) -> bool:
        """Whether an output depends on an input."""
        return bool(self._nodes) or not set(self.outputs).isdisjoint(self.inputs)

    def operators(self) -> set[str]:
        """Those that certainly meet the compiler. Of an If whose branch is decided nothing is certain."""
        return {shown(*node.operator) for node in self._nodes if id(node) not in self._decided}

    def decided(self) -> set[str]:
        """Operators of which a branch takes the place."""
        return {shown(*node.operator) for node in self._nodes if id(node) in self._decided} - self.operators()

    def uncertain(self) -> set[str]:
        """Those in the branches and bodies of control flow, some of which may be left."""
        return {shown(*inner) for node in self._nodes for inner in node.inside}

    def not_constant(self, operators: Operators) -> list[tuple[str, str]]:
        """`(operator, tensor)` where the compiler wants a constant and the model computes one, or takes it as input."""
        return [(node.operator[1], name) for node in self._nodes for name in _computed(node, operators)]

    def refused_forms(self, operators: Operators) -> list[str]:
        """`operator (form)` where the compiler takes the operator, and not in this form of it."""
        return sorted({f"{shown(*node.operator)} ({form})" for node in self._nodes if id(node) not in self._decided
                       for form in node.forms if form in operators.forms.get(shown(*node.operator), ())})

    def read_types(self, dtypes: Mapping[str, str]) -> list[tuple[str, str, str]]:
        """`(operator, tensor, type)` of the nodes' inputs, as far as they are known: `dtypes` are those of the model's
        inputs, and a node makes the type that it reads first, but where its operator chooses another. Of the first
        input the operator is told also as `Mod, fmod = 0`, in each form of it; of another as `Attention, input 3`."""
        known = {name: dtypes[name] for name in self.inputs if name in dtypes}
        found = []
        for node in self._nodes:
            operator = shown(*node.operator)
            found += [(f"{operator}, input {index}", name, known[name]) for index, name in enumerate(node.inputs)
                      if index and name in known]
            if node.inputs and (dtype := known.get(node.inputs[0])):
                found += [(told, node.inputs[0], dtype)
                          for told in (operator, *(f"{operator}, {form}" for form in node.forms))]
                if node.operator[1] not in OTHER_TYPES and node.outputs[0]:
                    known[node.outputs[0]] = dtype
        return found

    def behind_casts(self, inputs: list[str]) -> list[str]:
        """Where the part could begin so that these of its inputs are none: at what is cast of them, where nothing but
        Cast reads them; [] else."""
        readers = [node for node in self._nodes if not set(inputs).isdisjoint(node.inputs)]
        if any(node.operator[1] != "Cast" for node in readers):
            return []
        return [name for name in self.inputs if name in self.read and name not in inputs] + [
            node.outputs[0] for node in readers]

    def deciding_inputs(self) -> list[str]:
        """Those of its inputs whose values decide shapes or axes inside."""
        return [name for name in self.inputs if any(
            index < len(node.inputs) and node.inputs[index] == name
            for node in self._nodes for index in DECIDING.get(node.operator[1], ()))]

    def joined_scores(self) -> tuple[str, list[str]] | None:
        """`(output, what is joined in it)` of an output that joins scores with what is none: values of a scale of
        their own."""
        made = {name: node for node in self._nodes for name in node.outputs if name}
        for output in self.outputs:
            name = _origin(output, made)
            if name in made and made[name].operator[1] == "Concat":
                parts = list(dict.fromkeys(filter(None, made[name].inputs)))
                scores = [part for part in parts if _makes_scores(part, made)]
                if scores and len(scores) < len(parts):
                    return output, parts
        return None

    def instead_of(self, output: str, parts: list[str]) -> list[str]:
        """The outputs, with these tensors in the place of one of them."""
        return list(dict.fromkeys(part for name in self.outputs for part in (parts if name == output else [name])))

    def cut_around(self, operators: Operators) -> Cut | None:
        """Where the part could end (or else begin) so that nothing is in it that is refused, if most of the network is
        left then."""
        blocked = [self._is_blocked(node, operators) for node in self._nodes]
        whole = self._weight(self._nodes)
        for parameter, kept, ends in (("outputs", self._before(blocked), self._ends_of),
                                      ("inputs", self._after(blocked), self._begins_of)):
            if kept and 2 * self._weight(kept) >= whole:
                tensors = ends(kept)
                if 0 < len(tensors) <= _MAX_ENDS:
                    return Cut(parameter, tuple(tensors))
        return None

    def _is_blocked(self, node: Node, operators: Operators) -> bool:
        name = shown(*node.operator)
        refused = id(node) not in self._decided and (
            name in operators.refused or not set(node.forms).isdisjoint(operators.forms.get(name, ())))
        return refused or bool(_computed(node, operators))

    def _weight(self, nodes: list[Node]) -> int:
        heavy = any(node.operator[1] in HEAVY for node in self._nodes)
        return sum(1 for node in nodes if not heavy or node.operator[1] in HEAVY)

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
                wanted.update(filter(None, node.inputs))
            else:
                kept.append(node)
        return kept[::-1]

    def _ends_of(self, kept: list[Node]) -> list[str]:
        """The tensors that the rest reads or the request wants, without those that are moved from others of them."""
        made = {name: node for node in kept for name in node.outputs if name}
        inside = set(map(id, kept))
        read = {name for node in self._nodes if id(node) not in inside for name in node.inputs}
        ends = [name for name in made if name in read or name in self.outputs]
        return [name for name in ends if name in self.outputs or not _is_moved(name, made, set(ends) - {name})]

    def _begins_of(self, kept: list[Node]) -> list[str]:
        made = {name for node in kept for name in node.outputs}
        return list(dict.fromkeys(name for node in kept for name in node.inputs if name and name not in made))


def _computed(node: Node, operators: Operators) -> list[str]:
    """Those of its inputs that are to be constants, and vary."""
    name = shown(*node.operator)
    indices = [index for form in (name, *(f"{name}, {form}" for form in node.forms))
               for index in operators.constant.get(form, ())]
    return [node.inputs[index] for index in indices if index < len(node.inputs) and node.inputs[index]]


def _origin(name: str, made: dict[str, Node]) -> str:
    """The tensor whose values it holds, before they were moved."""
    return [name, *_moved_from(name, made)][-1]


def _moved_from(name: str, made: dict[str, Node]) -> Iterator[str]:
    """The tensors that hold its values, from it up."""
    while name in made and made[name].operator[1] in MOVING and len(list(filter(None, made[name].inputs))) == 1:
        name = next(filter(None, made[name].inputs))
        yield name


def _makes_scores(name: str, made: dict[str, Node]) -> bool:
    origin = _origin(name, made)
    return origin in made and made[origin].operator[1] in SCORES


def _is_moved(name: str, made: dict[str, Node], others: set[str]) -> bool:
    """Whether the tensor holds nothing but values of another one."""
    return any(moved in others for moved in _moved_from(name, made))
