"""`precision: "auto"`: which conversions are candidates for a request, and how one task's steps tell them apart."""
from __future__ import annotations

import re
import subprocess
from typing import Any

import numpy as np
import pytest

from shared import patterns
from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.documents import StageRecord, Task
from shared.errors import InvalidRequest
from shared.platforms import get_platforms
from shared.platforms.base import Automatic, Operators
from shared.platforms.candidates import choose, conversions_of
from shared.preflight.demands import judge_operators, shared_problems
from shared.settings import Settings
from shared.validation_messages import validate
from worker.attempts import Attempts
from worker.plan import get_plans
from worker.results import StageResult
from worker.stage_api import StageError
from worker.stages.accuracy import Gate

AUTOMATIC = [name for name, platform in get_platforms().items() if issubclass(platform.parameters, Automatic)]
SET = {"calibration": "models/set"}
CHIPS = {"rockchip": {"chip": "rk3588"}, "qualcomm": {"chip": "SM8650"}}
every_automatic = pytest.mark.parametrize("target", AUTOMATIC)


def build(target: str, **parameters: Any) -> Task:
    platform = get_platforms()[target]
    (task,) = build_tasks(validate(CreateTask, {
        "task_type": platform.task_types[0], "platform": target, "input_path": "models/in.onnx",
        "parameters": {**CHIPS.get(target, {}), "precision": "auto", **parameters}}), Settings())
    return task


def names(target: str, **parameters: Any) -> tuple[list[str], list[str]]:
    """Of those that can be tried, and of those that lack a calibration set."""
    choices = choose(get_platforms()[target].parameters, build(target, **parameters).parameters)
    return ([choice.candidate.name for choice in choices if choice.parameters],
            [choice.candidate.name for choice in choices if not choice.parameters])


def attempts(target: str, **parameters: Any) -> Attempts:
    return Attempts(get_plans()[target], build(target, **parameters))


# --- which there are --------------------------------------------------------------------------------------------------


def test_every_target_with_several_precisions_and_a_way_to_check_them_has_candidates() -> None:
    assert AUTOMATIC == ["cambricon", "intel", "qualcomm", "rockchip"]


@every_automatic
def test_with_a_set_all_are_tried_and_the_most_exact_ones_are_in_floating_point(target: str) -> None:
    tried, lacking = names(target, **SET)
    model: Any = get_platforms()[target].parameters
    declared = [candidate.name for candidate in model.candidates if (target, candidate.name) != ("rockchip", "w8a16")]
    assert (tried, lacking) == (declared, [])
    quantized = [choice.candidate.precision in model.quantized_precisions
                 for choice in choose(model, build(target, **SET).parameters)]
    assert quantized == sorted(quantized, reverse=True) and {True, False} == set(quantized)
    assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name) for name in declared)


@every_automatic
def test_each_candidate_is_a_request_of_its_own_that_would_be_stored_as_it_is(target: str) -> None:
    stored = build(target, **SET).parameters
    found = conversions_of(get_platforms()[target].parameters, stored)
    assert len(found) > 3
    for parameters in found:
        assert build(target, **parameters).parameters == parameters and "auto_time_s" not in parameters
        assert (parameters["calibration"] is None) == (parameters["precision"] in ("fp16", "fp32"))


@every_automatic
def test_without_a_set_the_integer_ones_are_told_as_what_a_set_would_bring(target: str) -> None:
    tried, lacking = names(target)
    assert set(tried) <= {"fp16", "fp32"} and {"int8"} <= set(lacking)
    assert {*tried, *lacking} == set(names(target, **SET)[0])


def test_what_a_chip_cannot_do_is_no_candidate() -> None:
    assert "w8a16" in names("rockchip", chip="rk3562", **SET)[0]
    assert names("rockchip", chip="rv1103", **SET)[0][-1] == "int16"  # it has no floating point
    assert names("rockchip", chip="rk2118", **SET) == (["fp16"], [])


def test_a_request_that_leaves_nothing_to_try_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidRequest, match="nothing to try: all that is left needs calibration"):
        build("rockchip", chip="rv1103")
    with pytest.raises(InvalidRequest, match="has no sparse_infer"):
        build("rockchip", sparse_infer=True)


@pytest.mark.parametrize(("parameters", "says"), [
    ({"verify": {"enabled": False}}, "needs verify.enabled"), ({"auto_time_s": 0}, "auto_time_s"),
    ({"precision": "fp16", "auto_time_s": 5}, "needs precision auto")])
def test_what_makes_no_sense_with_auto_is_refused(parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        build("intel", **parameters)


def test_a_target_that_cannot_check_what_it_makes_has_no_auto() -> None:
    with pytest.raises(InvalidRequest, match="precision"):
        build("huawei")


def test_what_the_client_chose_is_kept_and_candidates_that_are_alike_then_are_tried_once() -> None:
    assert names("rockchip", quantized_algorithm="mmse", **SET)[0] == ["int8", "int8-hybrid", "int16", "fp16"]
    model = get_platforms()["intel"].parameters
    sent = build("intel", quantization={"subset_size": 10}, mean=[1.0], std=[2.0], **SET).parameters
    choices = {choice.candidate.name: choice.parameters for choice in choose(model, sent)}
    assert choices["int8-minmax"]["quantization"]["subset_size"] == 10
    assert choices["int8-minmax"]["quantization"]["activations_range_estimator"] == "minmax"
    assert choices["fp16"]["quantization"]["subset_size"] == 300 and choices["fp16"]["mean"] == [1.0]


def test_the_time_is_stored_with_auto_alone() -> None:
    assert build("intel").parameters["auto_time_s"] == 1800.0
    assert build("intel", auto_time_s=60).parameters["auto_time_s"] == 60.0
    assert "auto_time_s" not in build("intel", precision="fp16").parameters


def test_a_refused_operator_is_certain_where_no_candidate_takes_it() -> None:
    facts = {"functions": [], "operators": [["", "Det", 1]], "remaining": [["", "Det"]], "graph": None}
    listed = Operators("a test", frozenset(), frozenset({"Det"}), {"precision": ["fp16"]}, ())
    model = get_platforms()["qualcomm"].parameters

    def problems(**parameters: Any) -> list[str]:
        conversions = conversions_of(model, build("qualcomm", **parameters).parameters)
        return [problem.code for problem in shared_problems([judge_operators(facts, listed, each)[0]
                                                             for each in conversions])]

    assert problems() == ["unsupported_operator"]
    assert problems(**SET) == []


# --- the steps of one task --------------------------------------------------------------------------------------------


def test_what_candidates_agree_in_runs_once_under_the_stages_own_name() -> None:
    steps = [step.name for step in attempts("qualcomm", **SET).steps]
    assert steps[:5] == ["fetch", "inspect", "optimize", "calibration_files", "calibration"]
    assert [name for name in steps if name.startswith(("reference", "prepare", "publish"))] == [
        "reference-int8", "prepare-int8", "publish", "prepare-int16", "reference-fp16", "prepare-fp16"]
    assert {"quantize-int8-percentile", "compile-int16", "verify-fp16", "package-int8"} <= set(steps)
    assert all(re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) for name in steps)


def test_with_one_candidate_the_stages_have_their_own_names() -> None:
    assert [step.name for step in attempts("rockchip").steps] == [
        "fetch", "inspect", "optimize", "reference", "prepare", "compile", "verify", "publish"]


@every_automatic
def test_a_step_finds_its_inputs_by_the_stages_names_among_the_steps_of_its_own_candidate(target: str) -> None:
    for attempt in attempts(target, **SET).attempts:
        mine = {step.name for step in attempt.steps}
        for step in attempt.steps:
            assert {*step.inputs} == {*step.stage.inputs} and set(step.inputs.values()) <= mine


def result(step: str, **facts: Any) -> StageResult:
    return StageResult("k", step, {}, facts, 1.0)


def test_the_time_that_cached_stages_took_once_does_not_count() -> None:
    found: dict[str, StageResult] = {}
    tried = attempts("intel", auto_time_s=100, **SET)

    def finish(name: str, seconds: float, cached: bool = False) -> None:
        step = next(step for step in tried.steps if step.name == name)
        found[name] = result(name)
        tried.note(step, StageRecord(name=name, key="k", output_digest="d", seconds=seconds, cached=cached))

    finish("reference-int8", 500.0)
    finish("quantize-int8", 900.0, cached=True)
    finish("compile-int8", 40.0)
    step = next(step for step in tried.steps if step.name == "quantize-int8-mixed")
    assert not tried.is_over and tried.seconds_left(step) == 30.0, "half of what is left"
    finish("quantize-int8-minmax", 60.0)
    assert tried.is_over and tried.current(found).name == "fp32", "the most exact one"
    last = next(step for step in tried.steps if step.name == "compile-fp32")
    assert tried.seconds_left(last) is None


def test_patterns_are_tried_once_for_all_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[Any] = []
    run = subprocess.run
    monkeypatch.setattr(patterns.subprocess, "run", lambda *args, **more: children.append(args) or run(*args, **more))
    scope = {"patterns": [r"/auto/[a-z]+\.once"]}
    tried, _ = names("intel", quantization={"ignored_scope": scope}, **SET)
    assert len(tried) == 5 and len(children) == 1


def test_what_the_gate_refuses_has_the_figures_that_the_table_tells() -> None:
    gate = Gate([{"name": "y", "dtype": "float", "max_abs": 3.0}])
    gate.add("picture", [np.arange(4.0)], [-np.arange(4.0)])
    with pytest.raises(StageError) as refused:
        gate.judge({"precision": "int8", "verify": {"min_cosine": None}, "accept_accuracy": False})
    assert refused.value.found["min_cosine"] == 0.95
    assert [(entry["name"], entry["cosine"]) for entry in refused.value.found["outputs"]] == [("y", -1.0)]
