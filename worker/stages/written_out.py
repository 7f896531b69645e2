"""An If or a Loop as the plain nodes that it runs: with names of their own, outer names stay as they are."""
from worker.stages.graph_edits import copies, unique

_MAX_TURNS = 64  # of a loop that is written out
_MAX_NODES = 20000  # that a loop may become


def write_out(node, values, taken, initialisers):
    """The nodes in place of an If or a Loop; None where it has to stay.

    `values` are the constants among its conditions, `taken` the graph's names; new constants go into `initialisers`.
    """
    bodies = {attribute.name: attribute.g for attribute in node.attribute}
    if node.op_type == "If":
        if node.input[0] not in values:
            return None
        branch = bodies["then_branch" if values[node.input[0]] else "else_branch"]
        nodes, ends = _inline(branch, {}, node.name, taken, initialisers)
        return nodes + [_identity(*pair, taken) for pair in zip(ends, node.output) if pair[1]]
    return _write_out_loop(node, bodies["body"], values, taken, initialisers)


def _write_out_loop(node, body, values, taken, initialisers):
    turns = _turns(node, body, values)
    carried = list(node.input[2:])
    if turns is None or turns > _MAX_TURNS or turns * len(body.node) > _MAX_NODES:
        return None
    collected = len(node.output) - len(carried)  # one value a turn each, in the end one tensor
    if collected and not turns:
        return None
    nodes, scanned = [], [[] for _ in range(collected)]
    iteration, condition, *inside = [value.name for value in body.input]
    for turn in range(turns):
        names = {iteration: _constant(turn, "int64", f"{node.name}_turn", taken, initialisers),
                 condition: _constant(True, "bool", f"{node.name}_goes_on", taken, initialisers),
                 **dict(zip(inside, carried))}
        written, ends = _inline(body, names, node.name, taken, initialisers)
        nodes += written
        carried, outputs = ends[1:len(carried) + 1], ends[len(carried) + 1:]
        for one, name in zip(scanned, outputs):
            one.append(name)
    nodes += [_identity(*pair, taken) for pair in zip(carried, node.output) if pair[1]]
    for parts, output in zip(scanned, node.output[len(carried):]):
        nodes += _stack(parts, output, taken, initialisers)
    return nodes


def _turns(node, body, values):
    """How often the loop runs; None where that depends on data."""
    count, condition = [*node.input[:2], "", ""][:2]
    if condition and condition not in values:
        return None
    if condition and not values[condition]:
        return 0
    if not count or count not in values or not _goes_on(body):
        return None
    return max(0, int(values[count]))


def _goes_on(body):
    """Whether the body's condition is true whatever it computes."""
    from onnx import numpy_helper

    makers = {name: node for node in body.node for name in node.output}
    tensors = {tensor.name: tensor for tensor in body.initializer}
    name = body.output[0].name
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name == body.input[1].name:
        return True
    tensor = tensors.get(name)
    if tensor is None and name in makers and makers[name].op_type == "Constant":
        tensor = next((attribute.t for attribute in makers[name].attribute if attribute.name == "value"), None)
    return tensor is not None and bool(numpy_helper.to_array(tensor).all())


def _inline(body, names, prefix, taken, initialisers):
    """`(copies of the body's nodes, the names of its outputs)`; `names` are what its inputs are called outside. What
    the body defines gets names of its own."""
    names = dict(names)
    defined = [name for node in body.node for name in node.output if name]
    for name in [*defined, *(tensor.name for tensor in body.initializer)]:
        names[name] = unique(f"{prefix}/{name}", taken)
    for tensor in copies(body.initializer):
        tensor.name = names[tensor.name]
        initialisers.append(tensor)
    nodes = copies(body.node)
    _rename(nodes, names)
    for node in nodes:
        node.name = unique(f"{prefix}/{node.name or node.op_type}", taken)
    return nodes, [names.get(value.name, value.name) for value in body.output]


def _rename(nodes, names):
    """In subgraphs too: they read names of the graph around them, and none of their own is called like one of these."""
    for node in nodes:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
        for attribute in node.attribute:
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _rename(graph.node, names)
                for value in graph.output:
                    value.name = names.get(value.name, value.name)


def _identity(source, target, taken):
    from onnx import helper

    return helper.make_node("Identity", [source], [target], unique(f"Identity_{target}", taken))


def _stack(names, output, taken, initialisers):
    from onnx import helper

    axis = _constant([0], "int64", output + "_axis", taken, initialisers)
    parts = [unique(f"{output}_{turn}", taken) for turn in range(len(names))]
    return [*(helper.make_node("Unsqueeze", [name, axis], [part], unique("Unsqueeze_" + part, taken))
              for name, part in zip(names, parts)),
            helper.make_node("Concat", parts, [output], unique("Concat_" + output, taken), axis=0)]


def _constant(value, dtype, wanted, taken, initialisers):
    import numpy as np
    from onnx import numpy_helper

    name = unique(wanted, taken)
    initialisers.append(numpy_helper.from_array(np.array(value, dtype), name))
    return name
