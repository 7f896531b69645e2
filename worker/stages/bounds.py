"""What it may cost to read and to simplify a model, in proportion to its size.

A thousand bytes can ask for hours: constants are computed while a model is loaded, and a shape can be an argument.
"""
from contextlib import contextmanager

from worker.stage_api import cpu_bound, is_out_of_memory, memory_bound
from worker.stages import reasons

CPU_S, CPU_S_PER_MIB, CPU_S_PER_1000_NODES = 30, 1, 1  # ten times what models take here, and more
INFERENCE_BYTES, INFERENCE_BYTES_PER_BYTE = 1 << 30, 64
LOADING_BYTES, LOADING_BYTES_PER_BYTE = 2 << 30, 8


def computing(size_bytes, nodes=0):
    """A context in which a model of so many bytes, and so many nodes where they are known, has its CPU time.

    The stage fails there with `model_too_complex`, and `timeout` where its own limit comes first.
    """
    seconds = CPU_S + CPU_S_PER_MIB * (size_bytes >> 20) + CPU_S_PER_1000_NODES * (nodes // 1000)
    return cpu_bound(seconds, reasons.TAKES_TOO_LONG(seconds=seconds, mib=(size_bytes >> 20) + 1))


def inferring(size_bytes):
    """A context in which shape inference has memory for a model of so many bytes, weights aside."""
    return memory_bound(INFERENCE_BYTES + INFERENCE_BYTES_PER_BYTE * size_bytes)


@contextmanager
def loading(size_bytes):
    """A context in which ONNX Runtime has memory to load a model of so many bytes, and to compute its constants.

    Raises:
        StageError: `model_too_complex` where it needs more; MemoryError where the stage's own limit comes first.
    """
    allowed = LOADING_BYTES + LOADING_BYTES_PER_BYTE * size_bytes
    with memory_bound(allowed) as bound:
        try:
            yield
        except Exception as error:
            if bound and is_out_of_memory(error):
                raise reasons.TAKES_TOO_MUCH(mib=allowed >> 20) from error
            raise
