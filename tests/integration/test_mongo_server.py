"""Finding, installing and starting the server that speaks MongoDB's protocol."""
from __future__ import annotations

import os
from pathlib import Path

import pymongo
import pytest

from infra.servers import mongo
from infra.servers.base import CannotStart


def test_a_stopped_server_leaves_no_process_and_its_data_are_there_at_the_next_start(tmp_path: Path):
    first = mongo.start(tmp_path / "new" / "folder")
    with pymongo.MongoClient(first.url) as client:
        client.get_default_database().things.insert_one({"_id": 1, "text": "模型"})
    first.stop()
    with pytest.raises(ProcessLookupError):
        os.killpg(first.process.pid, 0)
    second = mongo.start(tmp_path / "new" / "folder")
    with pymongo.MongoClient(second.url) as client:
        assert client.get_default_database().things.find_one() == {"_id": 1, "text": "模型"}
    second.stop()


def test_a_port_that_another_server_has_is_refused(tmp_path: Path, mongo_server_url: str):
    with pymongo.MongoClient(mongo_server_url) as client:
        port = client.address[1]
        with pytest.raises(CannotStart, match=f"port {port} .* in use"):
            mongo.start(tmp_path, port=port)
        client.admin.command("ping")


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path):
    (tmp_path / "tasks.mv").write_bytes(b"no store" * 4096)
    with pytest.raises(CannotStart, match=r"ended with 1; the end of mongo\.log:(.|\n)*MVStoreException"):
        mongo.start_java_server(tmp_path)


def test_without_programs_and_rights_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotStart, match=r"apt-get install .*openjdk-17-jdk-headless maven"):
        mongo.start(tmp_path / "data")


def test_a_failed_build_is_told_and_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("java", "javac", "mvn"):
        (tools / name).write_text(f"#!/bin/sh\necho {name} has no network\nexit 7\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        with pytest.raises(CannotStart, match=r"mvn failed with 7:\nmvn has no network"):
            mongo.start(tmp_path / "data")
    assert [path.name for path in (tmp_path / "cache/model-convert/mongo-java-server").iterdir()] == [".lock"]
