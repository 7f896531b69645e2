"""What it may cost to read and to simplify a model, in proportion to its size.

A thousand bytes can ask for hours: constants are computed while a model is loaded, and a shape can be an argument.
"""
from worker.stage_api import cpu_bound, memory_bound
from worker.stages import reasons

CPU_S, CPU_S_PER_MIB = 60, 1
INFERENCE_BYTES, INFERENCE_BYTES_PER_BYTE = 1 << 30, 64


def computing(size_bytes):
    """A context in which a model of so many bytes has its CPU time.

    The stage fails there with `model_too_complex`, and `timeout` where its own limit comes first.
    """
    seconds = CPU_S + CPU_S_PER_MIB * (size_bytes >> 20)
    return cpu_bound(seconds, reasons.TAKES_TOO_LONG(seconds=seconds, mib=(size_bytes >> 20) + 1))


def inferring(size_bytes):
    """A context in which shape inference has memory for a model of so many bytes, weights aside."""
    return memory_bound(INFERENCE_BYTES + INFERENCE_BYTES_PER_BYTE * size_bytes)
