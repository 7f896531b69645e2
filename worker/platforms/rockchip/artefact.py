"""The reader of an `.rknn` file's description.

Layout as rknn-toolkit2 2.5.0 writes it (seen, not documented): the magic, the container's version and the payload's
length as 64-bit little-endian numbers, the payload from byte 64 on, the length of a JSON description, and that. The
toolkit's own `load_rknn` answers 0 for a file that is cut in half.
"""
import json
import os
import struct

from shared.rules.refusal import Unusable
from worker.platforms.rockchip import reasons

MAGIC = b"RKNN\0\0\0\0"
_HEADER_BYTES = 64


def read_description(path):
    """`{"inputs", "outputs"}`; an entry is `{name, dtype, shape}`, dtype "" where it is not quantized: of what type it
    is then, the toolkit's log alone tells.

    Raises:
        ValueError: it is no whole RKNN file.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or not header.startswith(MAGIC):
            raise Unusable(reasons.NO_MAGIC)
        (payload,) = struct.unpack_from("<Q", header, 16)
        file.seek(_HEADER_BYTES + payload)
        length = file.read(8)
        text = file.read()
    if len(length) < 8 or struct.unpack("<Q", length)[0] != len(text):
        raise Unusable(reasons.PARTS_DO_NOT_FIT(size=size, payload=payload))
    told = json.loads(text)
    tensors = {entry["tensor_id"]: {"name": entry["url"], "dtype": entry["dtype"]["vx_type"], "shape": entry["size"]}
               for entry in told["norm_tensor"]}
    ends = {"input": [], "output": []}
    for edge in told["graph"]:
        ends[edge["left"]].append((edge["left_tensor_id"], tensors[edge["right_tensor_id"]]))
    return {"inputs": [tensor for _, tensor in sorted(ends["input"], key=lambda end: end[0])],
            "outputs": [tensor for _, tensor in sorted(ends["output"], key=lambda end: end[0])]}
