"""Parameters that name objects are checked like `input_path`, whichever target declares them; so is preprocessing."""
from __future__ import annotations

from typing import Any, get_args

import pytest

from shared.creation.documents import build_tasks
from shared.creation.requests import CreateTask
from shared.documents import Task
from shared.errors import InvalidRequest
from shared.platforms import get_platforms
from shared.platforms.base import NamesObject, ObjectPath, Preprocessing, Quantized
from shared.settings import Settings, get_settings
from shared.store import Store
from tests.functions.service import Caller

OBJECTS = sorted((name, field) for name, platform in get_platforms().items()
                 for field, about in platform.parameters.model_fields.items() if "NamesObject" in repr(about))
QUANTIZED = [name for name, platform in get_platforms().items() if issubclass(platform.parameters, Quantized)]
BAKING = [name for name, platform in get_platforms().items() if issubclass(platform.parameters, Preprocessing)]
BAD_PATHS = ["set.zip", "models/../secret/set", "models//set", "/etc/passwd", "models/set\n", "models/%2e%2e/set",
             "UPPER/set", "models", "models/", "", "models/a\\b", "x" * 1025, "models/" + "y" * 256]


def request(target: str, **parameters: Any) -> dict[str, Any]:
    platform = get_platforms()[target]
    example = {name: value for name, value in platform.example.items() if name != "precision"}
    return {"task_type": platform.task_types[0], "platform": target,
            "input_path": "models/in" + platform.input_suffixes[0], "parameters": example | parameters}


def quantized(target: str, **parameters: Any) -> dict[str, Any]:
    model = get_platforms()[target].parameters
    assert issubclass(model, Quantized)
    offered = model.model_json_schema()["properties"]["precision"]["enum"]
    precision = next(name for name in offered if name in model.quantized_precisions)
    return request(target, **{"precision": precision, **parameters})


def build(body: dict[str, Any], settings: Settings | None = None) -> Task:
    return build_tasks(CreateTask.model_validate(body), settings or get_settings())[0]


def test_there_are_targets_with_such_parameters() -> None:
    assert {target for target, _ in OBJECTS} >= {*QUANTIZED} and len(QUANTIZED) >= 2


def test_each_is_declared_where_the_check_reaches_it() -> None:
    """Within a list or another model a path would go unchecked."""
    for target, name in OBJECTS:
        about = get_platforms()[target].parameters.model_fields[name]
        direct = any(isinstance(item, NamesObject) for item in about.metadata)
        assert direct or set(get_args(about.annotation)) == {ObjectPath, type(None)}, (target, name)


@pytest.mark.parametrize("target", QUANTIZED)
@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_that_input_path_could_not_be_is_refused_by_the_parameters_name(target: str, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build(quantized(target, calibration=path))
    assert "parameters.calibration" in caught.value.en and "parameters.calibration" in caught.value.zh


@pytest.mark.parametrize("target", get_platforms())
@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_path_within_another_parameter_is_checked_too(target: str, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build(request(target, verify={"inputs": path}))
    assert "parameters.verify.inputs" in caught.value.en and "parameters.verify.inputs" in caught.value.zh
    assert build(request(target, verify={"inputs": "models/own/"})).parameters["verify"]["inputs"] == "models/own"


@pytest.mark.parametrize("target", QUANTIZED)
@pytest.mark.parametrize(("sent", "stored"), [
    ("models/set.zip", "models/set.zip"), ("models/校准 集/", "models/校准 集"), ("models/a/b", "models/a/b")])
def test_a_prefix_may_end_in_a_slash(target: str, sent: str, stored: str) -> None:
    first, second = build(quantized(target, calibration=sent)), build(quantized(target, calibration=stored))
    assert first.parameters["calibration"] == stored
    assert first.request_hash == second.request_hash  # the same request, for an idempotency key


@pytest.mark.parametrize("target", QUANTIZED)
def test_buckets_that_are_not_open_to_clients_stay_closed(target: str) -> None:
    settings = get_settings()
    with pytest.raises(InvalidRequest, match="bucket"):
        build(quantized(target, calibration=f"{settings.cache_bucket}/blobs"))
    narrow = settings.model_copy(update={"buckets": ("models",)})
    assert build(quantized(target, calibration="models/set"), narrow)
    with pytest.raises(InvalidRequest, match="bucket"):
        build(quantized(target, calibration="private/set"), narrow)


@pytest.mark.parametrize("target", QUANTIZED)
def test_a_quantized_precision_needs_a_set_and_no_other_takes_one(call: Caller, store: Store, target: str) -> None:
    body = quantized(target)
    call("create_task", "POST", "/tasks/create", json=body).assert_error(400, "calibration")
    offered = get_platforms()[target].parameters.model_json_schema()["properties"]["precision"]["enum"]
    for precision in {"fp16", "fp32"} & {*offered}:
        call("create_task", "POST", "/tasks/create", json=request(
            target, precision=precision, calibration="models/set")).assert_error(400, "calibration")
    answer = call("create_task", "POST", "/tasks/create", json=quantized(target, calibration="models/set/"))
    stored = store.get(answer.data["task_id"]).parameters
    assert stored["calibration"] == "models/set" and stored["precision"] == body["parameters"]["precision"]


@pytest.mark.parametrize("path", BAD_PATHS[:6])
def test_the_service_answers_a_bad_path_in_its_own_form(call: Caller, store: Store, path: str) -> None:
    call("create_task", "POST", "/tasks/create", json=quantized(QUANTIZED[0], calibration=path)).assert_error(
        400, "parameters.calibration")
    call("create_task", "POST", "/tasks/create", json=quantized(QUANTIZED[0], calibration=["models/set"])).assert_error(
        400, "calibration")


@pytest.mark.parametrize("target", BAKING)
@pytest.mark.parametrize("parameters", [
    {"std": [0.0, 1.0, 1.0]}, {"std": {"x": [1, 0, 1]}}, {"std": [1e-50] * 3}, {"std": [-0.0]}, {"mean": [1e39]},
    {"mean": []}, {"mean": [1.0] * 5}, {"mean": ["1"]}, {"mean": 1.0}, {"mean": [True]}, {"mean": {"x": []}},
    {"channel_order": "RGB"}], ids=str)
def test_preprocessing_that_cannot_be_computed_is_refused(target: str, parameters: dict[str, Any]) -> None:
    with pytest.raises((InvalidRequest, ValueError)) as caught:
        build(request(target, **parameters))
    assert next(iter(parameters)) in str(caught.value)


@pytest.mark.parametrize("target", BAKING)
@pytest.mark.parametrize("parameters", [
    {"mean": [0, 0, 0], "std": [255, 255, 255]}, {"mean": {"x": [123.675], "y": [1.0, 2.0]}}, {"std": [1e-30] * 3},
    {"mean": [3e38]}], ids=str)
def test_preprocessing_of_each_spelling_is_taken_and_stored_as_numbers(target: str, parameters: dict[str, Any]) -> None:
    stored = build(request(target, **parameters)).parameters
    assert {name: stored[name] for name in parameters} == parameters
