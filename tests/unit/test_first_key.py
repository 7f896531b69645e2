"""The first key of `make up`: made once, where there is no other, and readable by its owner alone."""
from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from infra import up
from infra.first_key import AUTH, KEY, NoFirstKey, find_or_make_key, needs_keys
from shared.access.key_text import digest_of, is_key_text
from shared.store import open_store

SERVERS = {variable: f"url of {name}" for name, (variable, _, _) in up.STARTERS.items()} | {up.TOKEN: "token"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return dict(os.environ) | {"MODEL_CONVERT_STORE_URL": f"sqlite:{tmp_path / 'tasks.db'}"}


def test_the_first_key_is_made_once_and_then_kept(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "service.env"
    key = find_or_make_key(path, environment)
    assert key is not None and is_key_text(key)
    up.write_settings(path, SERVERS | {AUTH: "keys", KEY: key})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and f"{KEY}={key}\n" in path.read_text()
    assert find_or_make_key(path, environment) == key
    store = open_store(environment["MODEL_CONVERT_STORE_URL"], 30.0)
    (made,) = store.all_keys()
    assert (made.digest, made.tenant, made.scopes, made.prefixes) == (
        digest_of(key), "default", ["read", "write", "admin"], ["*"])
    assert find_or_make_key(tmp_path / "other.env", environment) is None  # somebody has keys already
    store.end_key(made.id, revoked_at=1.0)
    assert find_or_make_key(tmp_path / "other.env", environment) not in (None, key)
    store.close()


def test_a_store_that_cannot_be_used_is_a_sentence(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "file").write_text("")
    environment["MODEL_CONVERT_STORE_URL"] = f"sqlite:{tmp_path / 'file' / 'x.db'}"
    with pytest.raises(NoFirstKey, match="store"):
        find_or_make_key(tmp_path / "service.env", environment)


@pytest.mark.parametrize(("auth", "host", "needed"), [
    (None, "127.0.0.1", False), (None, "localhost", False), (None, "::1", False), (None, "0.0.0.0", True),
    (None, "::", True), (None, "10.0.0.5", True), (None, "example.com", True), ("keys", "127.0.0.1", True),
    ("open", "0.0.0.0", False)])
def test_keys_are_needed_by_name_or_off_loopback(auth: str | None, host: str, needed: bool) -> None:
    assert needs_keys({} if auth is None else {AUTH: auth}, host) is needed
