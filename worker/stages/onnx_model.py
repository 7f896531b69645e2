"""Reading an ONNX model without its external data, and walking all that it holds."""
from collections import Counter

from shared.rules import models as rules


def read_model(path):
    """The parsed model, external data left where it is. `fetch` has found its entries within the limit.

    Raises:
        StageError: `model_unreadable`, `model_not_onnx`, `model_invalid`, `model_too_complex`.
    """
    import onnx
    from google.protobuf.message import DecodeError

    with open(path, "rb") as file:
        data = file.read()
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise rules.unreadable(len(data)) from error
    if not model.HasField("graph") or not model.ir_version:
        raise rules.no_graph()
    nodes = 0
    for graph, depth in walk_graphs(model):
        nodes += len(graph.node)
        if depth > rules.MAX_NESTING:
            raise rules.too_deep()
    rules.check_nodes(nodes)
    graphs = [model.graph, *(graph for part in model.training_info for graph in (part.initialization, part.algorithm))]
    rules.check_expansion(_count_operators(graphs), {
        (function.domain, function.name): _count_operators([function]) for function in model.functions})
    check_texts(model)
    return model


def _count_operators(graphs):
    """`{(domain, name): count}` of the graphs with their subgraphs."""
    return Counter((node.domain, node.op_type) for graph in graphs for inner, _ in walk_below(graph)
                   for node in inner.node)


def check_texts(model):
    """Refuse a name that is no UTF-8: protobuf hands it out as bytes, and the tools' errors with it cannot be read.

    Raises:
        StageError: `model_invalid`.
    """
    for text in _walk_texts(model):
        if isinstance(text, bytes):
            raise rules.not_text(text)


def _walk_texts(model):
    yield model.producer_name
    yield model.producer_version
    for entry in model.opset_import:
        yield entry.domain
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
    for node in walk_nodes(model):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
    for value in walk_values(model):
        yield value.name
        for dim in value.type.tensor_type.shape.dim:
            yield dim.dim_param
    for name, tensor in walk_tensors(model):
        yield from (name, tensor.name)
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)


def walk_graphs(model):
    """`(graph or function, depth)` of the main graph (0), of functions (0) and of all subgraphs."""
    for training in model.training_info:
        yield from walk_below(training.initialization)
        yield from walk_below(training.algorithm)
    for graph in (model.graph, *model.functions):
        yield from walk_below(graph)


def walk_below(graph):
    """`(graph, depth)` of the graph (0) and its subgraphs."""
    pending = [(graph, 0)]
    while pending:
        graph, depth = pending.pop()
        yield graph, depth
        if depth > rules.MAX_NESTING:
            continue
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    pending.append((attribute.g, depth + 1))
                pending += [(inner, depth + 1) for inner in attribute.graphs]


def walk_nodes(model):
    for graph, _ in walk_graphs(model):
        yield from graph.node


def walk_values(model):
    """Every declared input, output and intermediate value, of all graphs."""
    for graph, _ in walk_graphs(model):
        yield from graph.value_info
        if hasattr(graph, "initializer"):  # a function's inputs and outputs are bare names
            yield from graph.input
            yield from graph.output


def walk_tensors(model):
    """`(name, tensor)` of every initialiser and every tensor in an attribute, sparse ones by their parts."""
    for graph, _ in walk_graphs(model):
        for tensor in getattr(graph, "initializer", ()):
            yield tensor.name, tensor
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield sparse.values.name, sparse.values
            yield sparse.values.name, sparse.indices
        for node in graph.node:
            for attribute in node.attribute:
                name = node.output[0] if node.output else node.name
                if attribute.HasField("t"):
                    yield name, attribute.t
                if attribute.HasField("sparse_tensor"):
                    yield name, attribute.sparse_tensor.values
                    yield name, attribute.sparse_tensor.indices
                for tensor in attribute.tensors:
                    yield name, tensor
                for sparse in attribute.sparse_tensors:
                    yield name, sparse.values
                    yield name, sparse.indices


def is_external(tensor):
    return tensor.data_location == tensor.EXTERNAL


def external_entries(tensor):
    """`{"location": …, "offset": …, "length": …}`, as text; only what is there."""
    return {entry.key: entry.value for entry in tensor.external_data}


def model_inputs(model):
    """The graph's inputs that a caller must feed: an initialiser may stand among them, as before IR 4 each had to."""
    initialised = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in initialised]


def drop_weights(model, keep_bytes=1 << 14):
    """Empty every large tensor in place: shape inference needs small ones only, and time and memory go by bytes."""
    for _, tensor in walk_tensors(model):
        if tensor.ByteSize() > keep_bytes:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
