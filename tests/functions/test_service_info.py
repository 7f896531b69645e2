"""GET /platforms and GET /health."""
from __future__ import annotations

import time

import pytest

from shared.documents import WorkerInfo
from shared.platforms import get_platforms
from shared.store import Store
from tests.functions.service import Caller


def worker(worker_id: str, seen_at: float, version: str = "2026.4.0") -> WorkerInfo:
    return WorkerInfo(id=worker_id, host="host-1", pid=1, platforms={"intel": {"openvino": version}}, slots=2,
                      started_at=1704110400.0, seen_at=seen_at)


def test_every_target_is_listed_with_the_schema_that_validates_its_parameters(call: Caller, store: Store) -> None:
    answer = call("list_platforms", "GET", "/platforms")
    assert answer.message == "获取平台列表成功"
    listed = {platform["name"]: platform for platform in answer.data["platforms"]}
    assert list(listed) == list(get_platforms())
    intel = listed["intel"]
    assert intel["task_types"] == ["onnx_to_openvino"]
    assert (intel["input_suffixes"], intel["artefact_suffixes"]) == ([".onnx"], [".xml", ".bin"])
    assert intel["parameters"]["additionalProperties"] is False
    assert intel["parameters"]["properties"]["precision"]["enum"] == ["auto", "fp32", "fp16", "int8"]
    assert (intel["tools"], intel["workers"]) == ({}, [])


@pytest.mark.parametrize("language", ["zh", "en"])
def test_auto_is_offered_and_described_where_there_is_a_choice(call: Caller, language: str) -> None:
    answer = call("list_platforms", "GET", "/platforms", headers={"Accept-Language": language})
    told = {platform["name"]: platform["parameters"]["properties"] for platform in answer.data["platforms"]}
    offered = [name for name, fields in told.items() if "auto" in fields["precision"].get("enum", [])]
    assert offered == ["cambricon", "intel", "qualcomm", "rockchip"] and "auto_time_s" not in told["huawei"]
    for name in offered:
        for field in ("precision", "auto_time_s"):
            described = told[name][field]["description"]
            assert "auto" in described and (language == "zh") == any("一" <= char <= "鿿" for char in described)


def test_only_workers_that_were_seen_lately_are_live(call: Caller, store: Store) -> None:
    for info in (worker("b", time.time()), worker("a", time.time() - 20, "2026.5.0"), worker("c", time.time() - 40)):
        store.save_worker(info)
    intel = next(platform for platform in call("list_platforms", "GET", "/platforms").data["platforms"]
                 if platform["name"] == "intel")
    assert [live["id"] for live in intel["workers"]] == ["a", "b"]
    assert intel["tools"] == {"openvino": ["2026.4.0", "2026.5.0"]}
    assert set(intel["workers"][0]) == {"id", "host", "slots", "tools", "seen_at"}


def test_a_worker_is_shown_with_the_tasks_of_the_target_that_it_runs_at_once(call: Caller, store: Store) -> None:
    for name, limits in (("a", {}), ("b", {"intel": 1}), ("c", {"intel": 5}), ("d", {"another": 1})):
        store.save_worker(worker(name, time.time()).model_copy(update={"platform_slots": limits}))
    intel = next(platform for platform in call("list_platforms", "GET", "/platforms").data["platforms"]
                 if platform["name"] == "intel")
    assert [(live["id"], live["slots"]) for live in intel["workers"]] == [("a", 2), ("b", 1), ("c", 2), ("d", 2)]


def test_health_tells_each_dependencys_state_and_latency(call: Caller) -> None:
    answer = call("health", "GET", "/health")
    assert answer.message == "服务正常"
    dependencies = answer.data["dependencies"]
    assert list(dependencies) == ["store", "queue", "files"]
    assert all(health["state"] == "up" and 0 <= health["latency_ms"] < 2000 for health in dependencies.values())
