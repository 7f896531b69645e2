"""Einsum as transpositions around one MatMul: what compilers take that have no Einsum, or few equations of it.

The letters of an equation are of four kinds: those that both factors and the answer have (a batch), those that are
summed over, and those that one factor alone brings into the answer.
"""
from math import prod

from worker.stages.graph_edits import copies, unique
from worker.stages.inferred import infer_values

_STANDARD = ("", "ai.onnx")


def spell_out_einsum(model):
    """Replace each Einsum of the main graph of which that can be said; how many there were. Shapes are static."""
    graph = model.graph
    if not any(node.op_type == "Einsum" for node in graph.node):
        return 0
    values, nodes, count = infer_values(model), [], 0
    constants = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | set(constants)
    for node in graph.node:
        is_one = node.op_type == "Einsum" and node.domain in _STANDARD
        written = _Product(graph, node, [constants.get(name) or _dims(values.get(name)) for name in node.input], taken
                           ).nodes() if is_one else None
        nodes += [node] if written is None else written
        count += written is not None
    kept = copies(nodes)
    del graph.node[:]
    graph.node.extend(kept)
    return count


def _dims(value):
    if value is None or not value.type.tensor_type.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]


def _parse(equation):
    """`(letters of each factor, letters of the answer)`, or None where a factor has one twice or three dots."""
    terms, arrow, answer = equation.replace(" ", "").partition("->")
    factors = terms.split(",")
    if not arrow:
        answer = "".join(sorted(letter for letter in set("".join(factors)) if "".join(factors).count(letter) == 1))
    if "." in equation or any(len(set(term)) != len(term) for term in (*factors, answer)):
        return None
    return factors, answer


class _Product:
    """The nodes in place of one Einsum of two factors."""

    def __init__(self, graph, node, shapes, taken):
        self._graph, self._node, self._shapes, self._taken = graph, node, shapes, taken
        self._made = []

    def nodes(self):
        """None where it stays as it is."""
        equation = next(attribute.s.decode() for attribute in self._node.attribute if attribute.name == "equation")
        parsed = _parse(equation)
        if parsed is None or len(parsed[0]) != 2 or any(
                shape is None or None in shape or len(shape) != len(term)
                for shape, term in zip(self._shapes, parsed[0])):
            return None
        (left, right), answer = parsed
        sizes = dict([*zip(left, self._shapes[0]), *zip(right, self._shapes[1])])
        if any(sizes[letter] != size for letter, size in zip(left, self._shapes[0])):  # one of them is broadcast
            return None
        both = [letter for letter in left if letter in right]
        batch, summed = [letter for letter in both if letter in answer], [letter for letter in both
                                                                         if letter not in answer]
        of_left, of_right = ([letter for letter in term if letter not in both] for term in (left, right))
        if not set(of_left + of_right) <= set(answer):  # one that a factor has alone, and is summed over
            return None
        if not summed + of_left + of_right:  # the product of each two values, which is no MatMul
            return None
        self._write(left, right, answer, batch, summed, of_left, of_right, sizes)
        return self._made

    def _write(self, left, right, answer, batch, summed, of_left, of_right, sizes):
        rows, inner, columns = (prod(sizes[letter] for letter in letters) for letters in (of_left, summed, of_right))
        many = [sizes[letter] for letter in batch]
        one = self._arranged(self._node.input[0], left, [*batch, *of_left, *summed], [*many, rows, inner], sizes)
        other = self._arranged(self._node.input[1], right, [*batch, *summed, *of_right], [*many, inner, columns], sizes)
        order = [*batch, *of_left, *of_right]
        product = self._add("MatMul", [one, other], "product")
        shaped = self._reshaped(product, [*many, rows, columns], [sizes[letter] for letter in order])
        if list(answer) != order:
            self._add("Transpose", [shaped], "answer", perm=[order.index(letter) for letter in answer])
        self._made[-1].output[0] = self._node.output[0]

    def _arranged(self, name, term, order, shape, sizes):
        if list(term) != order:
            name = self._add("Transpose", [name], "turned", perm=[term.index(letter) for letter in order])
        return self._reshaped(name, [sizes[letter] for letter in order], shape)

    def _reshaped(self, name, now, wanted):
        if now == wanted:
            return name
        from onnx import TensorProto

        shape = unique(f"{self._node.output[0]}_shape", self._taken)
        self._graph.initializer.add(name=shape, data_type=TensorProto.INT64, dims=[len(wanted)], int64_data=wanted)
        return self._add("Reshape", [name, shape], "shaped")

    def _add(self, kind, inputs, what, **attributes):
        from onnx import helper

        name = unique(f"{self._node.output[0]}_{what}", self._taken)
        self._made.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name
