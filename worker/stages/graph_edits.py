"""Edits of an ONNX model's main graph. None of them touches an operator."""
from shared.rules.reasons import model as reasons
from worker.stages.onnx_model import walk_below, walk_nodes

_IR_WITH_PLAIN_CONSTANTS = 4  # before it each initialiser had to be listed among the inputs too


def unlist_constants(model):
    """Take initialisers out of the graph's inputs: listed there they are defaults, which a caller may replace. Nobody
    does so in an artefact, and compilers take them for inputs. Whether there were any."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants.update(sparse.values.name for sparse in model.graph.sparse_initializer)
    kept = [value for value in model.graph.input if value.name not in constants]
    listed = len(kept) != len(model.graph.input)
    if listed:
        _replace(model.graph.input, kept)
    model.ir_version = max(model.ir_version, _IR_WITH_PLAIN_CONSTANTS)
    return listed


def fix_input(model, name, array):
    """Make a constant of an input."""
    from onnx import numpy_helper

    _replace(model.graph.input, [value for value in model.graph.input if value.name != name])
    model.graph.initializer.append(numpy_helper.from_array(array, name))


def cut(model, inputs, outputs):
    """Let the graph begin at the values `inputs` and end with `outputs`, both `ValueInfoProto`; None: as it does.

    A tensor that a node writes becomes an input in that the node writes another name. Then `prune` takes the rest.
    """
    graph = model.graph
    if outputs is not None:
        _replace(graph.output, outputs)
    if inputs is None:
        return
    names = {value.name for value in inputs}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name in names:
                node.output[index] = unique(name + "_before_the_cut", taken)
    others = [value for value in graph.input if value.name not in names]
    _replace(graph.input, [*inputs, *others])  # the others show whether something still needs them


def prune(model):
    """Remove what no output needs, inputs aside; the names that are still read."""
    graph, needed = model.graph, needed_names(model)
    _replace(graph.node, [node for node in graph.node if not needed.isdisjoint(filter(None, node.output))])
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])
    _replace(graph.sparse_initializer, [entry for entry in graph.sparse_initializer if entry.values.name in needed])
    made = needed | {name for node in graph.node for name in node.output}
    _replace(graph.value_info, [value for value in graph.value_info if value.name in made])
    return needed


def needed_names(model):
    """The names of all values that the outputs depend on, the outputs' own among them."""
    producers = {name: node for node in model.graph.node for name in node.output if name}
    needed, pending = set(), [value.name for value in model.graph.output]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            if name in producers:
                pending += reads(producers[name])
    return needed


def check_computes(model):
    """That some output depends on an input.

    Raises:
        StageError: `unsupported_operator`.
    """
    reached = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if not reached.isdisjoint(reads(node)):
            reached.update(node.output)
    if reached.isdisjoint(value.name for value in model.graph.output):
        raise reasons.NOTHING_TO_COMPUTE()


def reads(node):
    """What a node reads, its subgraphs included; a name of a subgraph's own does no harm."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            for inner, _ in walk_below(graph):
                names += [name for below in inner.node for name in below.input]
                names += [value.name for value in inner.output]
    return [name for name in names if name]


def part_names(model):
    """Let no two nodes have one name: ONNX Runtime refuses that, and quantizers and compilers tell nodes apart by their
    names. Those without any stay so: tools call them by what they write, and so do clients. Whether there were two."""
    taken = {node.name for node in walk_nodes(model)}
    seen, doubled = set(), False
    for node in walk_nodes(model):
        if node.name in seen:
            doubled = True
            node.name = unique(node.name, taken)
        if node.name:
            seen.add(node.name)
    return doubled


def unique(wanted, taken):
    """`wanted`, or with a number if it is among the names that are `taken`, as it is then."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def _replace(field, entries):
    """Let a repeated field hold these of its entries, or others."""
    kept = copies(entries)
    del field[:]
    field.extend(kept)


def copies(entries):
    """Of a repeated field's messages, which end with the field."""
    return [type(entry).FromString(entry.SerializeToString()) for entry in entries]
