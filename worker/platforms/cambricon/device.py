"""The MLU of this machine, as the worker found it at its start (`toolkit.locate`)."""
import os
from contextlib import contextmanager

from worker.platforms.cambricon import reasons

MLU = "MODEL_CONVERT_CAMBRICON_MLU"
# Which card runs a chip's models (mlu-ops, independent_build.sh: --mlu370 is mtp_372, --mlu590 is mtp_592).
CARDS = {"mtp_372": "MLU370", "mtp_592": "MLU590"}
ABSENT, UNKNOWN = "none", "unknown"


def card():
    """`MLU370`; "none", or "unknown" for one that does not tell its name."""
    return os.environ.get(MLU, ABSENT)


@contextmanager
def opened(mm):
    """The first visible MLU.

    Raises:
        StageError: `toolchain_broken`: it was there when the worker began.
    """
    with mm.System() as system:
        if not system.device_count():
            raise reasons.DEVICE_LOST(said=reasons.NONE_ANY_MORE)
        device = mm.Device()
        device.id = 0
        status = device.active()
        if not status.ok():
            raise reasons.DEVICE_LOST(said=str(status.error_message()))
        yield device
