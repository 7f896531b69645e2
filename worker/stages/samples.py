"""Inputs for the reference run: seeded, the same on every machine and in every toolchain."""
import hashlib

from shared.rules.calibration import numpy_name

OUTPUTS = "outputs.npz"  # the reference's, of all samples: a small file costs an object store as much as a large one
EDGES = ("zeros", "ones")  # the kinds that nobody asked for
_CHANNELS = (1, 3, 4)
_PIXELS_PER_LINE = 24000


def numpy_dtype(name):
    """The NumPy dtype of an ONNX element type's name (`float`, `int64`)."""
    import numpy as np

    return np.dtype(numpy_name(name))


def make_inputs(inputs, kind, seed=0):
    """`{name: array}` for the facts' `inputs`. `kind` is "picture", "noise", "zeros" or "ones".

    Floats lie in 0..1 as images do, uint8 in 0..255. Other integers are 0 or 1: any index, mask or token type may be
    that, while a larger number may lie outside a table. Those of an entry with a `divisor` are 1 or 2, but for the
    zeros. A picture looks like a printed page, where an input has the shape of an image: on noise a detector answers
    nothing but zeros, which proves nothing (seen with PP-OCRv4).
    """
    return {entry["name"]: _array(entry, kind, [seed, position]) for position, entry in enumerate(inputs)}


def output_name(sample, output):
    """The array in OUTPUTS; both are counted from 0, as the reference's facts list them."""
    return f"sample_{sample}_output_{output}"


def input_name(sample, index):
    """An input of the artefact in OUTPUTS, where it cannot be made again of a seed: the model begins inside."""
    return f"sample_{sample}_input_{index}"


def inputs_digest(feed):
    """SHA-256 of the arrays' bytes, in order: another NumPy may one day make other numbers of the same seed."""
    import numpy as np

    digest = hashlib.sha256()
    for array in feed.values():
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


def _array(entry, kind, seed):
    import numpy as np

    shape, dtype = entry["shape"], numpy_dtype(entry["dtype"])
    if kind in EDGES:
        return np.full(shape, kind == "ones", dtype)
    generator = np.random.default_rng(seed)
    least = int(entry.get("divisor", False))
    if dtype.kind != "f" and dtype != np.uint8:
        return np.asarray(generator.integers(least, least + 2, shape)).astype(dtype)
    values = _picture(generator, shape) if kind == "picture" else None
    if values is None:
        values = generator.random(shape, np.float32)
    # Without dimensions NumPy gives a number, which ONNX Runtime does not take of every type.
    if dtype == np.uint8:
        values = np.maximum(values * 255, least)
    return np.asarray(values).astype(dtype, copy=False)


def _picture(generator, shape):
    """Lines of dark dot-matrix characters on a light ground, 0..1, for [N, C, H, W] or [N, H, W, C]; None for another
    shape."""
    import numpy as np

    if len(shape) != 4 or (shape[1] not in _CHANNELS and shape[3] not in _CHANNELS):
        return None
    channels_first = shape[1] in _CHANNELS
    height, width = shape[2:] if channels_first else shape[1:3]
    channels = shape[1] if channels_first else shape[3]
    pictures = np.empty((shape[0], channels, height, width), np.float32)
    for picture in pictures:
        picture[:] = 1 - 0.4 * generator.random((channels, 1, 1))
        for _ in range(1 + height * width // _PIXELS_PER_LINE):
            dots = generator.random((7, int(generator.integers(24, 120)))) < 0.5
            dots[:, 5::6] = False
            size = int(generator.integers(1, 5))
            top = int(generator.integers(0, max(1, height - 7 * size + 1)))
            left = int(generator.integers(0, 1 + width // 2))
            ink = np.kron(dots, np.ones((size, size), bool))[:height - top, :width - left]
            area = picture[:, top:top + ink.shape[0], left:left + ink.shape[1]]
            area[:, ink] = 0.4 * generator.random((channels, 1))
    return pictures if channels_first else np.moveaxis(pictures, 1, 3)
