"""Secrets in files: `MODEL_CONVERT_X_FILE` instead of `MODEL_CONVERT_X`."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.processes import embedded_environment
from infra.up import write_settings
from shared.secret_files import MAX_BYTES, WrongSecretFile
from shared.settings import Settings, WrongSettings, get_settings, read_settings

SECRETS = {"store_url": "mongodb://user:hush@db/name", "queue_url": "amqp://user:hush@broker/",
           "files_url": "minio://user:hush@files:9000", "upload_secret": "hush-of-sixteen-characters",
           "events_token": "hush", "callback_secret": "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo"}


def variable(name: str) -> str:
    return f"MODEL_CONVERT_{name.upper()}"


def test_these_are_all_the_secrets() -> None:
    found = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert found == SECRETS.keys()


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_each_secret_is_read_from_a_file(name: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes((SECRETS[name] + end).encode())
    found = getattr(read_settings({f"{variable(name)}_FILE": str(path)}), name)
    assert isinstance(found, SecretStr) and found.get_secret_value() == SECRETS[name]


def test_only_secrets_are() -> None:
    assert read_settings({"MODEL_CONVERT_SLOTS_FILE": "/none"}).slots == 2


@pytest.mark.parametrize("name", SECRETS)
def test_both_ways_at_once_are_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(WrongSecretFile, match=f"{variable(name)} and {variable(name)}_FILE are both set") as refused:
        read_settings({variable(name): SECRETS[name], f"{variable(name)}_FILE": str(tmp_path)})
    assert "hush" not in str(refused.value)


def test_an_empty_variable_is_neither_way(tmp_path: Path) -> None:
    """A compose file hands over what nobody has set as an empty variable."""
    path = tmp_path / "token"
    path.write_text("hush")
    of_file = read_settings({"MODEL_CONVERT_EVENTS_TOKEN": "", "MODEL_CONVERT_EVENTS_TOKEN_FILE": str(path)})
    plain = read_settings({"MODEL_CONVERT_EVENTS_TOKEN": "hush", "MODEL_CONVERT_EVENTS_TOKEN_FILE": ""})
    assert of_file.events_token == plain.events_token == SecretStr("hush")


@pytest.mark.parametrize("content", [b"", b"\n", b"hush\xff", b"hush\0", b"hush" * MAX_BYTES])
def test_content_that_cannot_be_a_secret_is_refused_and_not_shown(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(WrongSecretFile, match=f"MODEL_CONVERT_EVENTS_TOKEN_FILE: {path} is ") as refused:
        read_settings({"MODEL_CONVERT_EVENTS_TOKEN_FILE": str(path)})
    assert "hush" not in str(refused.value) and refused.value.__cause__ is None


@pytest.mark.parametrize(("name", "why"), [("none", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_told_at_the_start(name: str, why: str, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_EVENTS_TOKEN_FILE", str(tmp_path / name))
    get_settings.cache_clear()
    told = f"MODEL_CONVERT_EVENTS_TOKEN_FILE: {tmp_path / name} cannot be read: {why}"
    with pytest.raises(WrongSettings, match=told):
        get_settings()


@pytest.mark.parametrize("module", ["worker", "infra.gateway", "infra.serve", "infra.up up", "infra.gc"])
def test_the_service_does_not_start_with_a_wrong_file(module: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_hush")
    ended = subprocess.run([sys.executable, "-m", *module.split()], capture_output=True, text=True, timeout=60,
                           cwd=tmp_path, env=os.environ | {"MODEL_CONVERT_CALLBACK_SECRET_FILE": "secret",
                                                           "PYTHONPATH": os.pathsep.join(sys.path)})
    assert ended.returncode == 1 and "Traceback" not in ended.stderr and "hush" not in ended.stderr + ended.stdout
    assert "MODEL_CONVERT_CALLBACK_SECRET: should be whsec_ and the base64" in ended.stderr


def test_the_embedded_profile_leaves_a_url_in_a_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_CONVERT_STORE_URL_FILE", "/run/secrets/store")
    environment = embedded_environment(tmp_path)
    assert "MODEL_CONVERT_STORE_URL" not in environment and environment["MODEL_CONVERT_QUEUE_URL"] == "poll:"


def test_make_up_writes_down_where_a_secret_lies_and_not_the_secret(tmp_path: Path) -> None:
    write_settings(tmp_path / "service.env", {
        "MODEL_CONVERT_STORE_URL_FILE": "/run/secrets/store", "MODEL_CONVERT_QUEUE_URL": "amqp://here/",
        "MODEL_CONVERT_FILES_URL": "minio://a:b@here", "MODEL_CONVERT_EVENTS_TOKEN": "token"})
    assert (tmp_path / "service.env").read_text().splitlines() == [
        "MODEL_CONVERT_STORE_URL_FILE=/run/secrets/store", "MODEL_CONVERT_QUEUE_URL=amqp://here/",
        "MODEL_CONVERT_FILES_URL=minio://a:b@here", "MODEL_CONVERT_EVENTS_TOKEN=token"]
