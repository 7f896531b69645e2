"""Quantization: the network's ranges from the calibration set. MagicMind runs the network on an MLU for it."""
import os
from contextlib import contextmanager

from worker.platforms.cambricon import device, reasons
from worker.platforms.cambricon.tool import CONFIG, MM, NETWORK
from worker.stage_api import report
from worker.stages import calibration, preprocess
from worker.stages.calls import Name, Shown

REMOTE = "MODEL_CONVERT_CAMBRICON_REMOTE"
_ALGORITHMS = {"linear": "LINEAR_ALGORITHM", "eqnm": "EQNM_ALGORITHM"}
_CALIBRATOR = Name("calibrator")
_NARROWER = {"float64": "float32", "int64": "int32", "uint64": "uint32"}  # MagicMind has no 64-bit tensors


def quantize(mm, tool, job, inputs):
    """Let MagicMind note the ranges in the tool's `network`; how many samples it read.

    Raises:
        StageError: `calibration_needs_device`, `compile_failed`.
    """
    remote = os.environ.get(REMOTE)
    if not remote and device.card() == device.ABSENT:
        raise reasons.NEEDS_DEVICE(precision=job["parameters"]["precision"], setting=REMOTE)
    entry = job["inputs"]["calibration"]
    feeds = [_make_feed(mm, entry, position, item, job["parameters"]) for position, item in enumerate(inputs)]
    calibrator = tool.let("calibrator", MM.Calibrator(Shown(feeds, "[CalibData(input) for each input]")),
                          reasons.TAKE_SET)
    algorithm = getattr(MM.QuantizationAlgorithm, _ALGORITHMS[job["parameters"]["quantization_algorithm"]])
    tool.do(_CALIBRATOR.set_quantization_algorithm(algorithm), reasons.TAKE_ALGORITHM)
    with _somewhere(mm, calibrator, remote):
        tool.do(_CALIBRATOR.calibrate(NETWORK, CONFIG), reasons.QUANTIZE, reasons.CANNOT_QUANTIZE)
    used = min(feed.used for feed in feeds)
    if not used:  # it said that all went well
        raise reasons.NO_SAMPLE_READ()
    return used


@contextmanager
def _somewhere(mm, calibrator, remote):
    """Where the network runs: on the server, if there is one, else on this machine's MLU."""
    if remote:
        config = mm.RemoteConfig()
        config.address = remote
        calibrator.set_remote(config)
        yield
        return
    with device.opened(mm):
        yield


def _make_feed(mm, entry, position, item, parameters):
    """The samples of one input, in the form that mm.Calibrator asks for: FLOAT32 where the model has floats, values as
    the model itself takes them (the samples' CalibData normalises where `insert_bn_before_firstnode` is set)."""
    import numpy as np
    from magicmind.python.common.types import get_datatype_by_numpy

    indices = entry["facts"]["quantize"]

    class CalibData(mm.CalibDataInterface):  # type: ignore[name-defined]  # known where the toolkit is
        def __init__(self):
            super().__init__()
            self.used = 0
            self._next = 0
            self._sample = self._load(indices[0])

        def _load(self, index):
            array = preprocess.to_model(parameters, item, calibration.read(entry, index)[position])
            return np.ascontiguousarray(array.astype(_NARROWER.get(str(array.dtype), array.dtype), copy=False))

        def get_shape(self):
            return mm.Dims(list(self._sample.shape))

        def get_data_type(self):
            return get_datatype_by_numpy(self._sample.dtype)

        def get_sample(self):
            return self._sample

        def next(self):
            if self._next == len(indices):
                return mm.Status(mm.Code.OUT_OF_RANGE, "no more samples")
            self._sample = self._load(indices[self._next])
            self._next += 1
            self.used = max(self.used, self._next)
            report(15 + 35 * self._next / len(indices), f"calibrating, {self._next} of {len(indices)} samples")
            return mm.Status.OK()

        def reset(self):
            self._next = 0
            return mm.Status.OK()

    return CalibData()
