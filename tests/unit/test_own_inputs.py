"""verify.inputs: the client's own test inputs, by which the gate judges instead of seeded ones."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.rules.own_inputs import as_said_of_test_inputs
from shared.rules.reasons import calibration as reasons
from tests import models
from tests.fixtures.calibration import npy, pictures, zipped
from tests.fixtures.stages import Conversion
from worker.plan import get_plans
from worker.stage_api import StageError
from worker.stages.accuracy import read_samples
from worker.stages.common import SAMPLES

SHAPE = (1, 3, 32, 32)
OWN = {f"{number:02d}.npy": npy(np.full(SHAPE, number, np.float32)) for number in range(8)}


def samples(conversion: Conversion) -> list[tuple[str, float]]:
    """`(kind, first value of the input)` of each."""
    inputs = {name: {"dir": str(conversion.dir(name)), "facts": conversion.facts[name]}
              for name in SAMPLES if name in conversion.facts}
    return [(kind, float(raw.ravel()[0])) for kind, (raw,), _ in read_samples(
        {"inputs": inputs, "parameters": conversion.parameters})]


def test_they_are_all_that_is_compared_and_spread_over_the_set(tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, models.convolution(), test_inputs=OWN, verify={"samples": 4})
    facts = conversion.run("verify")
    assert facts["passed"] and facts["samples"] == 4 and "seeded_outputs" not in facts
    assert samples(conversion) == [("own", 0.0), ("own", 2.0), ("own", 4.0), ("own", 6.0)]


def test_a_zip_and_a_small_set_are_taken_whole(tmp_path: Path) -> None:
    few = {name: OWN[name] for name in list(OWN)[1:3]}
    conversion = Conversion(tmp_path, models.convolution(), test_inputs={"set.zip": zipped(few)})
    conversion.run("reference")
    assert samples(conversion) == [("own", 1.0), ("own", 2.0)]


def test_a_quantized_artefact_is_judged_by_them_and_not_by_its_calibration_set(tmp_path: Path) -> None:
    conversion = Conversion(tmp_path, models.convolution(), precision="int8", test_inputs=OWN, verify={"samples": 2},
                            calibration_files=pictures(12, *SHAPE))
    facts = conversion.run("reference")
    assert [sample["kind"] for sample in facts["samples"]] == ["own", "own"]


def test_without_them_their_stages_do_not_exist() -> None:
    for plan in get_plans().values():
        names = [stage.name for stage in plan.stages_for({"precision": "fp16", "verify": {"inputs": None}})]
        given = [stage.name for stage in plan.stages_for({"precision": "fp16", "verify": {"inputs": "models/own"}})]
        assert not {"verify_files", "verify_inputs"} & {*names}
        assert ("verify_inputs" in given) is ("reference" in names)
        older = plan.stages_for({"precision": "fp16", "verify": {}})  # of a version that had no such parameter
        assert [stage.name for stage in older] == names


@pytest.mark.parametrize(("files", "says"), [
    ({"a.npy": npy(np.zeros((1, 3, 31, 32)))}, "a.npy: its shape is"), ({"note.txt": b""}, "note.txt is neither"),
    ({}, "holds no sample"), ({"set.zip": b"no zip"}, "zip cannot be used")])
def test_what_is_wrong_with_them_is_told_as_of_them(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(StageError) as caught:
        Conversion(tmp_path, models.convolution(), test_inputs=files).run("verify_inputs")
    assert caught.value.code == "test_inputs_invalid" and says in caught.value.message
    assert "the set of test inputs" in caught.value.message and "calibration" not in caught.value.message
    assert "测试输入集" in caught.value.message_zh and "校准" not in caught.value.message_zh + caught.value.hint_zh


def test_a_files_own_name_stays_as_it_is() -> None:
    said = as_said_of_test_inputs(reasons.BAD_FILE(name="校准集/1.npy", problem=reasons.OBJECTS))["said"]
    assert "校准集/1.npy" in said.zh and said.zh.startswith("测试输入集")
