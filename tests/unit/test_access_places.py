"""Which paths a key may name, and whose tasks an upload starts."""
from __future__ import annotations

import time

import pytest

from shared.access import Caller, acting_for
from shared.access.documents import Key, new_key_id
from shared.access.places import may_name, owner_of
from shared.errors import InvalidRequest
from shared.files.paths import check_path, check_prefix
from shared.settings import Settings
from shared.triggers.tenants import tenant_of

SETTINGS = Settings()
TASK, UPLOAD = "task_1234567890_1234567890", "upload_1234567890_" + "a" * 32


def caller(tenant: str = "acme", *prefixes: str) -> Caller:
    return Caller("key", tenant, frozenset(), prefixes)


@pytest.mark.parametrize(("path", "owner"), [
    (f"uploads/{UPLOAD}/m.onnx", "default"), (f"results/{TASK}/m.om", "default"), (f"results/{TASK}", "default"),
    (f"uploads/tenant-acme/{UPLOAD}/m.onnx", "acme"), (f"results/tenant-acme/{TASK}/m.om", "acme"),
    ("results/tenant-acme/x.om", "acme"), ("results/tenant-acme", "acme"), ("uploads/tenant-a-b/x", "a-b"),
    ("results/x.om", None), ("results/folder/x.om", None), ("uploads/x.onnx", None), ("models/tenant-acme/x", None),
    (f"models/{TASK}/x", None), ("results/tenant-/x", None), ("results/tenant-ACME/x", None),
    ("/data/tenant-acme/x", None), ("results/tenants-acme/x", None)])
def test_uploads_and_results_have_owners(path: str, owner: str | None) -> None:
    assert owner_of(path, SETTINGS) == owner


@pytest.mark.parametrize(("who", "path", "may"), [
    (caller(), "models/m.onnx", False), (caller("acme", "*"), "models/m.onnx", True),
    (caller("acme", "models/"), "models/m.onnx", True), (caller("acme", "models/"), "models2/m.onnx", False),
    (caller("acme", "models/a/"), "models/a/m.onnx", True), (caller("acme", "models/a/"), "models/ab/m.onnx", False),
    (caller("acme", "models/a/"), "models/a", False), (caller("acme", "/data/a/"), "/data/a/m.onnx", True),
    (caller("acme", "/data/a/"), "/data/b/m.onnx", False),
    (caller(), f"uploads/tenant-acme/{UPLOAD}/m.onnx", True), (caller(), f"uploads/{UPLOAD}/m.onnx", False),
    (caller("acme", "*"), f"uploads/{UPLOAD}/m.onnx", False), (caller("acme", "*"), f"results/{TASK}/m.om", False),
    (caller("acme", "*"), "results/tenant-other", False), (caller("acme", "results/"), "results/tenant-other/x", False),
    (caller("acme", "results/tenant-other/"), "results/tenant-other/x", False),
    (caller("default", "*"), "results/tenant-acme/x", False), (caller("default"), f"results/{TASK}/x", True),
    (caller("acme", "results/"), "results/x.om", True), (caller(), "results/x.om", False)])
def test_a_key_names_its_tenants_places_and_what_its_prefixes_cover(who: Caller, path: str, may: bool) -> None:
    assert may_name(who, path, SETTINGS) is may
    with acting_for(who):
        if path.startswith("/"):
            return  # the settings allow none
        if may:
            assert check_path(path, "input_path", SETTINGS) == path
        else:
            with pytest.raises(InvalidRequest, match="this key may not name"):
                check_path(path, "input_path", SETTINGS)
    assert check_path(path, "input_path", SETTINGS) == path  # without keys as before


@pytest.mark.parametrize("text", ["models/", "models/acme/", "models/a/b c/", "/data/models/"])
def test_a_prefix_is_a_folder(text: str) -> None:
    assert check_prefix(text) == text


@pytest.mark.parametrize("text", ["", "/", "models", "models/a", "models//", "models/../x/", "a/", "models/%2e%2e/",
                                  "models/\n/", "//", "models\\x/"])
def test_what_is_no_folder_is_no_prefix(text: str) -> None:
    with pytest.raises(InvalidRequest, match="prefix"):
        check_prefix(text)


def key(tenant: str, *prefixes: str, **fields: float) -> Key:
    return Key.model_validate({"id": new_key_id(), "digest": "d", "name": "n", "tenant": tenant, "scopes": ["write"],
                               "prefixes": list(prefixes), "created_at": 1.0} | fields)


@pytest.mark.parametrize(("keys", "tenant"), [
    ([], "default"), ([key("a", "models/")], "a"), ([key("a", "*")], "default"), ([key("a", "other/")], "default"),
    ([key("a", "models/"), key("b", "models/x/")], "b"), ([key("a", "models/"), key("b", "models/")], "default"),
    ([key("a", "models/"), key("a", "models/")], "a"),
    ([key("a", "models/"), key("b", "models/", revoked_at=2.0)], "a"),
    ([key("a", "models/"), key("b", "models/x/", expires_at=time.time() - 1)], "a"),
    ([key("b", "models/x/", revoked_at=2.0)], "b")])
def test_an_upload_is_its_places_tenants(keys: list[Key], tenant: str) -> None:
    assert tenant_of("models/x/m.onnx", keys, SETTINGS) == tenant


def test_an_upload_in_a_tenants_own_place_is_that_tenants() -> None:
    assert tenant_of("uploads/tenant-a/x.onnx", [key("b", "uploads/")], SETTINGS) == "a"
