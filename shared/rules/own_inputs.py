"""A client's own test inputs have the form of a calibration set, and what is wrong with them is said in its words."""
from shared.rules.bilingual import Bilingual

_SET = "calibration_invalid"
_NAMES_ZH = (("校准集", "测试输入集"),)
_NAMES_EN = (("the calibration set", "the set of test inputs"),)


def is_of_set(refusal):
    """Whether it speaks of a calibration set; another says the same of test inputs as it stands."""
    return refusal.code == _SET


def as_said_of_test_inputs(refusal):
    """The parameters of `reasons.calibration.OF_TEST_INPUTS`: a set's refusal with the name of the set exchanged."""
    said, advice = (Bilingual(_exchange(text.zh, _NAMES_ZH), _exchange(text.en, _NAMES_EN))
                    for text in (refusal.text, refusal.advice))
    return {"said": said, "advice": advice}


def _exchange(text, names):
    """Only the first place, which is ours: a file's name may have the same words further on."""
    for old, new in names:
        text = text.replace(old, new, 1)
    return text
