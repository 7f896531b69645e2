"""Writing a model: large weights go beside it."""
import os

_EMBED_MAX_BYTES = 1500000000  # weights above it are saved beside the model: a protobuf ends at 2 GiB


def save(model, path):
    """Write the model, with PATH.data beside it for large weights."""
    import onnx

    outside = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _EMBED_MAX_BYTES
    onnx.save_model(model, path, save_as_external_data=outside, location=os.path.basename(path) + ".data")
