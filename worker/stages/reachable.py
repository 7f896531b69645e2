"""Which of a model's inputs its outputs depend on. Compilers drop the others, some without a word."""


def read_inputs(model):
    """The names of the inputs that something reads on the way to an output, in the graph's order."""
    from worker.stages.onnx_model import model_inputs, walk_below

    makers = {name: node for node in model.graph.node for name in node.output if name}
    waiting, seen = [value.name for value in model.graph.output], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = makers.get(name)
        if node is None:
            continue
        waiting += node.input
        for attribute in node.attribute:  # a subgraph reads names of the graph around it
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                for inner, _ in walk_below(graph):
                    waiting += [value.name for value in inner.output]
                    waiting += [read for inside in inner.node for read in inside.input]
    return [value.name for value in model_inputs(model) if value.name in seen]
