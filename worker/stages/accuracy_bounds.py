"""What the accuracy check allows, by the task's precision.

Each bound stands between what right artefacts give and what broken ones give, as far from both as it can. Measured with
PP-OCR's three networks, the heads of detectors and a segmentation, on three toolchains:

| | right artefacts | broken ones | bound |
|---|---|---|---|
| agreement of class ids, INT8 | 0.962 and more | what chance gives: 0.2 of five classes | 0.9 |
| the same, FP16 | 0.9997 and more | | 0.99 |
| error of a slice of a small scale, INT8 and INT16 (scores beside pixels) | 0.07 and less | 1.1 to 20 | 0.7 |
| the same, FP16 | 0.17 and less | | 0.5 |
"""
# What good models of ours reach with a small calibration set: INT8 0.95 to 0.99, INT16 (8-bit weights) 0.98 to 0.99.
MIN_COSINE = {"fp32": 0.9999, "fp16": 0.999, "int16": 0.98, "int8": 0.95}
# The share of whole numbers that agree.
MIN_AGREEMENT = {"fp32": 0.999, "fp16": 0.99, "int16": 0.95, "int8": 0.9}
# The error of a slice of a small scale, relative to its own variation: at 1 the slice tells nothing.
MAX_SMALL_ERROR = {"fp32": 0.25, "fp16": 0.5, "int16": 0.7, "int8": 0.7}
# The same for every other slice. One that varies less than this share of the output's magnitude may drown in the error
# that the least cosine allows, and so may one that varies less than half as much as the slices do beside it.
MAX_ERROR = 1.0
LEAST_SPREAD = {"fp32": 1 / 256, "fp16": 1 / 32, "int16": 1 / 32, "int8": 1 / 16}
LEAST_SPREAD_BESIDE = 0.5
LEAST_VALUES, LEAST_VALUES_OF_SMALL = 32, 8  # in a slice, over all samples
# A quantized model is bound by its own calibration samples; on seeded inputs of the same range it has only to be alive:
# they are not what it was made for, yet one that was calibrated on nonsense fails on them.
# Class ids of a picture that shows nothing lie beside edges: of a good artefact 0.78 agree there.
COLLAPSED, COLLAPSED_AGREEMENT = 0.8, 0.5
QUANTIZED = ("int8", "int16")


class Bounds:
    """Those of one task. A client's `min_cosine` is the least agreement too."""

    def __init__(self, parameters):
        precision, wanted = parameters["precision"], parameters["verify"]["min_cosine"]
        self.quantized = precision in QUANTIZED
        self.precision = precision
        self.cosine = MIN_COSINE[precision] if wanted is None else wanted
        self.agreement = MIN_AGREEMENT[precision] if wanted is None else wanted
        self.small_error = MAX_SMALL_ERROR[precision]
        self.least_spread = LEAST_SPREAD[precision]

    def to_json(self):
        return {"cosine": self.cosine, "agreement": self.agreement, "small_slice_error": self.small_error,
                "slice_error": MAX_ERROR}
