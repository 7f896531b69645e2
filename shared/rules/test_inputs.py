"""What is wrong with a client's own test inputs. They have the form of a calibration set, and its faults."""
from shared.rules.bilingual import Bilingual
from shared.rules.reasons import test_inputs as reasons

_NAMES = (("校准集", "测试输入集"), ("校准样本", "测试样本"))
_NAMES_EN = (("the calibration set", "the set of test inputs"),)


def as_test_inputs(refusal):
    """A refusal of a calibration set as one of `verify.inputs`; another one as it is."""
    if refusal.code != "calibration_invalid":
        return refusal
    said, advice = (Bilingual(_first(text.zh, _NAMES), _first(text.en, _NAMES_EN))
                    for text in (refusal.text, refusal.advice))
    return reasons.INVALID(said=said, advice=advice, vendor_code=refusal.vendor_code)


def _first(text, names):
    """Only the first place, which is ours: a file's name may have the same words further on."""
    for old, new in names:
        text = text.replace(old, new, 1)
    return text
