"""`python -m infra.keys` on a store of its own."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.access.key_text import digest_of, is_key_text
from shared.store import Store, open_store

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'tasks.db'}"


@pytest.fixture
def store(url: str):
    store = open_store(url, 30.0)
    yield store
    store.close()


@pytest.fixture
def run(url: str) -> Run:
    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        settings = {"MODEL_CONVERT_STORE_URL": url, "MODEL_CONVERT_DEPENDENCY_TIMEOUT_S": "15"}
        return subprocess.run([sys.executable, "-m", "infra.keys", *arguments], env=os.environ | settings | env,
                              capture_output=True, text=True, timeout=120)

    return run


def make(run: Run, *arguments: str) -> dict:
    done = run("create", "-o", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_new_key_is_shown_once_and_stored_as_its_digest(run: Run, store: Store, tmp_path: Path) -> None:
    made = make(run, "--tenant", "acme", "--scopes", "write,read", "--prefix", "models/acme/", "--expires", "90d",
                "--name", "ci of acme")
    assert is_key_text(made["key"])
    key = store.find_key(digest_of(made["key"]))
    assert key is not None and key.id == made["id"]
    assert (key.name, key.tenant, key.scopes, key.prefixes) == ("ci of acme", "acme", ["read", "write"],
                                                                ["models/acme/"])
    assert key.expires_at == pytest.approx(key.created_at + 90 * 86400)
    assert made["key"] not in run("list").stdout + run("list", "-o", "json").stdout
    assert not any(made["key"].encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_a_new_key_as_text_says_what_it_may(run: Run, store: Store) -> None:
    done = run("create", "--tenant", "acme", "--scopes", "read")
    text = done.stdout.splitlines()[0]
    assert done.returncode == 0 and is_key_text(text)
    assert store.find_key(digest_of(text)) is not None
    assert "only its" in done.stdout or "uploads and results only" in done.stdout
    assert text not in done.stderr  # where the log line goes
    assert "key created" in done.stderr


def test_keys_are_listed_with_their_state(run: Run) -> None:
    assert run("list").stdout == "there are no keys\n"
    good, gone = make(run, "--tenant", "a", "--scopes", "read"), make(run, "--tenant", "b", "--scopes", "admin")
    assert run("revoke", gone["id"]).returncode == 0
    states = {key["id"]: key["state"] for key in json.loads(run("list", "-o", "json").stdout)}
    assert states == {good["id"]: "good", gone["id"]: "revoked"}
    lines = run("list").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [[good["id"], "good", "a"], [gone["id"], "revoked", "b"]]


def test_a_rotated_key_is_good_while_both_overlap(run: Run, store: Store) -> None:
    old = make(run, "--tenant", "acme", "--scopes", "read,write", "--prefix", "models/", "--name", "ci")
    before = time.time()
    done = run("rotate", old["id"], "--overlap", "2h", "-o", "json")
    new = json.loads(done.stdout)
    assert new["replaces"] == old["id"] and new["key"] != old["key"] and new["id"] != old["id"]
    first, second = store.find_key(digest_of(old["key"])), store.find_key(digest_of(new["key"]))
    assert before + 7200 <= first.expires_at <= time.time() + 7200 and first.revoked_at is None
    assert (second.name, second.tenant, second.scopes, second.prefixes, second.expires_at) == (
        "ci", "acme", ["read", "write"], ["models/"], None)
    assert run("revoke", old["id"]).returncode == 0
    refused = run("rotate", old["id"])
    assert refused.returncode == 1 and "has ended (revoked)" in refused.stderr and not refused.stdout


@pytest.mark.parametrize("command", [["revoke", "key_0"], ["rotate", "key_0"]])
def test_an_unknown_key_is_a_sentence_and_exit_code_1(run: Run, command: list[str]) -> None:
    done = run(*command)
    assert done.returncode == 1 and "there is no key key_0" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "says"), [
    (["--scopes", "read"], "--tenant"), (["--tenant", "acme"], "--scopes"),
    (["--tenant", "Acme_1", "--scopes", "read"], "lower-case"), (["--tenant", "acme", "--scopes", "root"], "no scope"),
    (["--tenant", "acme", "--scopes", ","], "no scope"),
    (["--tenant", "acme", "--scopes", "read", "--prefix", "models"], "slash at its end"),
    (["--tenant", "acme", "--scopes", "read", "--prefix", "a/../"], "prefix is invalid"),
    (["--tenant", "acme", "--scopes", "read", "--prefix", "AB/"], "prefix is invalid"),
    (["--tenant", "acme", "--scopes", "read", "--expires", "soon"], "is no time"),
    (["--tenant", "acme", "--scopes", "read", "--name", "a\nb"], "a name has"),
])
def test_a_wrong_command_is_refused_and_makes_nothing(run: Run, store: Store, arguments: list[str], says: str) -> None:
    done = run("create", *arguments)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr
    assert store.all_keys() == []


def test_a_store_that_cannot_be_used_is_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("list", MODEL_CONVERT_STORE_URL=f"sqlite:{tmp_path / 'file' / 'x.db'}")
    assert done.returncode == 1 and "store" in done.stderr and "Traceback" not in done.stderr
