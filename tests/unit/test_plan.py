"""Plans: which stages a task has, what goes into their keys, and which of them two targets share."""
from __future__ import annotations

from dataclasses import replace

import pytest

from shared.platforms import get_platforms
from shared.platforms.base import Preprocessing, Quantized
from worker.keys import stage_key
from worker.plan import CORE, Environment, Plan, Stage, get_plans, load_entry
from worker.stages import common

OWN = Environment("own", "worker/stages/requirements.lock")
COMPILE = Stage("compile", "worker.stages.inspect:run", "own", inputs=("optimize", "calibration"),
                parameters=("precision",))
PLAN = Plan("own", OWN, (*common.BEGIN, *common.CALIBRATION, common.REFERENCE, COMPILE,
                         common.PUBLISH))
SMALL = ["fetch", "inspect", "optimize", "reference", "compile", "publish"]
LARGE = ["fetch", "inspect", "optimize", "calibration_files", "calibration", "reference", "compile", "publish"]
QUANTIZED_TARGETS = [name for name, platform in get_platforms().items()
                     if issubclass(platform.parameters, Quantized) and name in get_plans()]


def key(stage: Stage, target: str = "own", toolchain: str | None = "1", parameters: object = None,
        inputs: object = None) -> str:
    return stage_key(stage, target, toolchain, parameters or {}, inputs or {})


@pytest.mark.parametrize(("parameters", "names"), [
    ({"precision": "int8"}, LARGE), ({"precision": "int16"}, LARGE), ({"precision": "fp16"}, SMALL),
    ({"precision": "fp32", "calibration": "models/set"}, SMALL), ({"precision": None}, SMALL), ({}, SMALL)])
def test_a_stage_exists_for_its_values_alone(parameters, names):
    assert [stage.name for stage in PLAN.stages_for(parameters)] == names


def test_a_stage_that_is_not_there_is_no_input_of_the_others():
    stages = {stage.name: stage for stage in PLAN.stages_for({"precision": "fp16"})}
    assert stages["compile"] == replace(COMPILE, inputs=("optimize",))
    assert stages["reference"].inputs == ("fetch", "optimize")
    full = {stage.name: stage for stage in PLAN.stages_for({"precision": "int8"})}
    assert full["compile"] == COMPILE and full["reference"].inputs == ("fetch", "optimize", "calibration")
    assert stages["publish"].inputs == ("compile",)  # this target verifies nothing


def test_a_target_without_a_verify_publishes_without_it():
    assert common.publish("package").inputs == ("package", "verify")
    plan = Plan("own", OWN, (common.FETCH, Stage("package", "a.b:run", "own"), common.publish("package")))
    assert plan.stages_for({})[-1].inputs == ("package",)


@pytest.mark.parametrize("name", list(get_plans()))
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int16"])
def test_every_plan_is_whole_for_every_precision(name, precision):
    """Inputs come first, entries exist, and only the last stage acts on the outside world."""
    plan = get_plans()[name]
    stages = plan.stages_for({"precision": precision})
    seen: list[str] = []
    for stage in stages:
        assert set(stage.inputs) <= set(seen) and stage.name not in seen
        assert stage.environment in (CORE, common.ONNX.name, plan.environment.name)
        if stage.environment == CORE:
            assert callable(load_entry(stage.entry))
        assert not stage.origin or callable(load_entry(stage.origin))
        seen.append(stage.name)
    assert [stage.name for stage in stages if not stage.cached] == [seen[-1]] == ["publish"]
    assert stages[-1].inputs[0] in seen


@pytest.mark.parametrize("name", QUANTIZED_TARGETS)
def test_a_target_that_quantizes_has_the_calibration_stages_for_the_precisions_that_need_a_set(name):
    platform, plan = get_platforms()[name].parameters, get_plans()[name]
    assert issubclass(platform, Quantized)
    offered = platform.model_json_schema()["properties"]["precision"]["enum"]
    needing = {precision for precision in offered if precision in platform.quantized_precisions}
    assert needing
    for precision in offered:
        stages = [stage.name for stage in plan.stages_for({"precision": precision})]
        assert ("calibration" in stages) == (precision in needing), precision


def test_two_targets_share_the_calibration_set_and_the_reference():
    """One model, one set, many targets: what is common has one key whatever the target is."""
    first, second = QUANTIZED_TARGETS[:2]
    shared = {stage.name for stage in get_plans()[first].stages_for({"precision": "int8"}) if stage.common}
    assert shared >= {"fetch", "inspect", "optimize", "calibration_files", "calibration", "reference"}
    for stage in get_plans()[first].stages_for({"precision": "int8"}):
        twin = next((other for other in get_plans()[second].stages_for({"precision": "int8"})
                     if other.name == stage.name), None)
        if stage.common:
            assert twin == stage and key(stage, first) == key(twin, second)
        elif twin and stage.name != "publish":
            assert key(stage, first) != key(twin, second)


def test_targets_that_bake_preprocessing_read_it_alike():
    """Else one of them would calibrate for other values than the other."""
    baking = [platform.parameters for platform in get_platforms().values()
              if issubclass(platform.parameters, Preprocessing)]
    defaults = [{name: model.model_fields[name].default for name in Preprocessing.model_fields} for model in baking]
    assert len(baking) >= 2 and all(each == defaults[0] for each in defaults)


BASE = {"precision": "int8", "calibration": "models/set"}
ETAGS = {"calibration": {"models/set/0.npy": "e1", "models/set/1.npy": "e2"}}


@pytest.mark.parametrize("changes", [
    {"inputs": {"calibration": ETAGS["calibration"] | {"models/set/1.npy": "e3"}}},
    {"inputs": {"calibration": {"models/set/0.npy": "e1"}}},
    {"inputs": {"calibration": ETAGS["calibration"] | {"models/set/2.npy": "e2"}}},
    {"parameters": {"calibration": "models/other"}}], ids=["an etag", "one less", "one more", "the path"])
def test_the_key_of_a_set_changes_with_its_objects(changes):
    (files, _) = common.CALIBRATION
    first = {"parameters": {"calibration": "models/set"}, "inputs": ETAGS}
    assert key(files, **first) == key(files, **first)
    assert key(files, **first) != key(files, **(first | changes))


def test_a_stages_key_speaks_of_all_that_goes_into_it():
    base = key(COMPILE, parameters={"precision": "int8"}, inputs={"optimize": "1"})
    assert base != key(COMPILE, parameters={"precision": "int16"}, inputs={"optimize": "1"})
    assert base != key(COMPILE, parameters={"precision": "int8"}, inputs={"optimize": "2"})
    assert base != key(COMPILE, parameters={"precision": "int8"}, inputs={"optimize": "1"}, toolchain="2")
    assert base != key(COMPILE, target="other", parameters={"precision": "int8"}, inputs={"optimize": "1"})
    assert base != key(replace(COMPILE, name="again"), parameters={"precision": "int8"}, inputs={"optimize": "1"})
