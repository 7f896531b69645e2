"""Stand-in: calibration. It needs a device that is active, or a server; it notes each input's range."""
from enum import Enum

from .core import ACTIVE, Code, Status, has, log_error


class QuantizationAlgorithm(Enum):
    LINEAR_ALGORITHM, EQNM_ALGORITHM = range(2)


class CalibDataInterface:
    """What the user's class derives from; like a binding, it has to be initialised."""

    def __init__(self):
        self.is_initialised = True


class RemoteConfig:
    address = ""


class Calibrator:
    def __init__(self, data):
        if not all(getattr(feed, "is_initialised", False) for feed in data):
            raise TypeError("CalibDataInterface.__init__() must be called when overriding __init__")
        self._data, self._algorithm, self._remote = data, QuantizationAlgorithm.LINEAR_ALGORITHM, ""

    def set_quantization_algorithm(self, algorithm):
        self._algorithm = algorithm
        return Status.OK()

    def set_remote(self, config):
        self._remote = config.address
        return Status.OK()

    def calibrate(self, network, config):
        precision = config.settings["precision_config"]
        if self._remote and not self._remote.startswith("mlu-server"):
            return self._fail("Unavailable", f"failed to connect to {self._remote}")
        if not self._remote and not ACTIVE:
            return self._fail("Internal", "cnrtGetDevice failed: no device is active")
        symmetric = precision["activation_quant_algo"] == "symmetric"
        if self._algorithm is QuantizationAlgorithm.EQNM_ALGORITHM and not symmetric:
            return self._fail("Invalid argument", "EQNM_ALGORITHM needs symmetric quantization")
        network.ranges = [_range_of(feed) for feed in self._data]
        return Status.OK()

    @staticmethod
    def _fail(code, message):
        log_error("cc/internal/mm_calibrator.cc:98", f"{code}: {message}")
        return Status(Code.INTERNAL, f"{code}: {message}")


def _range_of(feed):
    if has("no-samples"):
        return [0.0, 1.0]
    least, greatest = float("inf"), float("-inf")
    assert feed.reset().ok()
    while feed.next().ok():
        sample = feed.get_sample()
        assert list(sample.shape) == feed.get_shape().GetDims()
        assert sample.flags["C_CONTIGUOUS"] and feed.get_data_type().name in ("FLOAT32", "INT32", "UINT8", "BOOL")
        least, greatest = min(least, float(sample.min())), max(greatest, float(sample.max()))
    return [least, greatest]
