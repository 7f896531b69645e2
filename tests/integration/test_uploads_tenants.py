"""Whose tasks an upload starts, and what it may name in a tenant's name."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.deps import get_store
from tests.functions.access import make_key

if TYPE_CHECKING:
    from tests.integration.uploads_kit import Uploads

pytest_plugins = ["tests.integration.uploads_kit"]

RULE = '[[rule]]\nname = "uploads"\nbucket = "{bucket}"\ntarget = "intel"\n'


@pytest.fixture
def begin(start: Callable[..., Uploads], tmp_path: Path) -> Callable[[str], Uploads]:
    return lambda rules=RULE: start(f"file:{tmp_path}/buckets", rules)


def test_a_rule_names_its_tenant(begin: Callable[..., Uploads]) -> None:
    uploads = begin(RULE + 'tenant = "acme"\n')
    taken = uploads.take_one(uploads.put("a.onnx"))
    (task,) = uploads.tasks()
    assert taken.is_new and task.tenant == "acme" and task.output_path == f"results/tenant-acme/{task.id}/a.xml"
    again = uploads.take_one("a.onnx")
    assert not again.is_new and again.task_ids == (task.id,)


def test_without_one_the_place_of_the_upload_tells_the_tenant(begin: Callable[..., Uploads]) -> None:
    uploads = begin()
    make_key(get_store(), "acme", prefixes=[f"{uploads.bucket}/acme/"])
    make_key(get_store(), "all", prefixes=["*"])
    for key in ("acme/a.onnx", "b.onnx"):
        uploads.take_one(uploads.put(key))
    assert {task.source.key: task.tenant for task in uploads.tasks() if task.source} == {
        "acme/a.onnx": "acme", "b.onnx": "default"}


def test_where_there_are_no_keys_nothing_has_a_tenant(begin: Callable[..., Uploads]) -> None:
    uploads = begin()
    sidecar = {"parameters": {"precision": "int8", "calibration": "uploads/tenant-acme/set"}}
    uploads.put("a.onnx.json", json.dumps(sidecar).encode())
    uploads.take_one(uploads.put("a.onnx"))
    assert [task.tenant for task in uploads.tasks()] == ["default"]


@pytest.mark.parametrize(("path", "taken"), [
    ("uploads/tenant-acme/set", True), ("{bucket}/acme/set", True), ("models/acme/set", True), ("{bucket}/set", True),
    ("uploads/tenant-other/set", False), ("results/tenant-other/x", False), ("models/other/set", False)])
def test_a_sidecar_names_only_what_its_tenant_may_name(begin: Callable[..., Uploads], path: str, taken: bool) -> None:
    uploads = begin()
    make_key(get_store(), "acme", prefixes=[f"{uploads.bucket}/acme/", "models/acme/"])
    path = path.replace("{bucket}", uploads.bucket)
    sidecar = {"parameters": {"precision": "int8", "calibration": path}}
    uploads.put("acme/a.onnx.json", json.dumps(sidecar).encode())
    found = uploads.take_one(uploads.put("acme/a.onnx"))
    assert [task.tenant for task in uploads.tasks()] == (["acme"] if taken else [])
    assert found.is_new is taken
    if not taken:
        assert found.ignored is not None and "may not name this path" in found.ignored.en


def test_a_rule_may_not_reach_into_another_tenants_own_place(begin: Callable[..., Uploads]) -> None:
    uploads = begin(RULE + 'tenant = "acme"\nparameters = { precision = "int8", calibration = "uploads/tenant-b/x" }\n')
    assert uploads.take_one(uploads.put("a.onnx")).ignored is not None and uploads.tasks() == []


@pytest.mark.parametrize("name", ["Acme", "", "a_b", "-a"])
def test_a_tenants_name_in_a_rule_is_checked_at_the_start(begin: Callable[..., Uploads], name: str) -> None:
    from shared.triggers.rule_file import WrongRules, get_rules

    begin(RULE + f'tenant = "{name}"\n')
    with pytest.raises(WrongRules, match="tenant"):
        get_rules()
