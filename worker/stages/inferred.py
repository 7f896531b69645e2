"""What shape inference knows of a model's values."""
from worker.stages.bounds import inferring
from worker.stages.onnx_model import drop_weights


def infer_values(model):
    """`{name: ValueInfoProto}` of what shape inference knows."""
    import onnx

    slim = onnx.ModelProto()
    slim.CopyFrom(model)
    drop_weights(slim)
    try:
        with inferring(slim.ByteSize()):
            graph = onnx.shape_inference.infer_shapes(slim, data_prop=True).graph
    except Exception:  # C++ exceptions of its own and of the standard library
        graph = slim.graph
    return {value.name: value for value in [*graph.value_info, *graph.output, *graph.input]}
