"""The ranges of activations as ONNX Runtime's calibration found them, with room for what the set does not show.

A quantized value beyond its range is cut off. Of 65536 steps some can be spared for values that the calibration set did
not show; of 256 none can.
"""
ROOM_16 = 2.0


def with_room(path, new):
    """Write the cached ranges at `path`, widened for 16 bits, to `new`."""
    import numpy as np
    from onnxruntime.quantization import calibrate

    found = calibrate.load_tensors_data(path)
    for name, data in found.items():
        lowest, highest = (np.asarray(bound, np.float32) for bound in widened(data))
        found[name] = calibrate.TensorData(lowest=lowest, highest=highest)
    calibrate.save_tensors_data(found, new)


def widened(data):
    """`(lowest, highest)` of a calibrated tensor for 16 bits."""
    lowest, highest = (float(bound.reshape(-1)[0]) for bound in data.range_value)
    return min(lowest, 0.0) * ROOM_16, max(highest, 0.0) * ROOM_16
