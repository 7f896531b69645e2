"""Which of a model's inputs its outputs depend on. Compilers drop the others, some without a word."""


def read_inputs(model):
    """The names of the inputs that something reads on the way to an output, in the graph's order."""
    from worker.stages.graph_edits import needed_names
    from worker.stages.onnx_model import model_inputs

    needed = needed_names(model)
    return [value.name for value in model_inputs(model) if value.name in needed]
