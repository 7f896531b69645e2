"""`python -m infra.gc`: what workers do in time, at once and for a person to see."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_worker_cache import Machine
from tests.integration.worker_kit import ROOT, make_task, open_store

BUCKET = "cache"


def run(folder: Path, *arguments: str, code: int = 0, **changes: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_CONVERT_")}
    named = {"STORE_URL": f"sqlite:{folder}/tasks.db", "FILES_URL": f"file:{folder}/buckets", "CACHE_BUCKET": BUCKET,
             "CACHE_GRACE_S": "0.001", **changes}
    done = subprocess.run([sys.executable, "-m", "infra.gc", *arguments], cwd=ROOT, capture_output=True, text=True,
                          env=kept | {f"MODEL_CONVERT_{name}": value for name, value in named.items() if value})
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With two results that share a file, and a store of which most was deleted."""
    machine = Machine(tmp_path, "here")
    for name in "ab":
        machine.keep(name, {"x": name.encode() * 1000, "y": b"of both"}, share=True)
    store = open_store(tmp_path)
    ids = []
    for _ in range(60):
        task = make_task(parameters={"text": "x" * 40_000})
        store.insert(task)
        ids.append(task.id)
    for task_id in ids:
        store.delete(task_id)
    store.close()
    return machine


def objects(machine: Machine) -> list[str]:
    return [info.path for below in ("stages/", "blobs/") for info in machine.files.find(f"{BUCKET}/{below}")]


def test_a_dry_run_removes_nothing_and_tells_what_the_next_run_removes(machine: Machine, tmp_path: Path) -> None:
    before, size = objects(machine), (tmp_path / "tasks.db").stat().st_size
    assert len(before) == 5
    told = run(tmp_path, "--dry-run", CACHE_BUCKET_BYTES="0")
    assert "would remove 2 results above the budget" in told and "would remove 3 files of results, 2007 bytes" in told
    assert objects(machine) == before and (tmp_path / "tasks.db").stat().st_size >= size
    done = run(tmp_path, CACHE_BUCKET_BYTES="0")
    assert "removed 3 files of results, 2007 bytes" in done and "the store's file is" in done
    assert objects(machine) == [] and (tmp_path / "tasks.db").stat().st_size < size / 4


def test_where_there_is_nothing_to_remove_that_is_told(machine: Machine, tmp_path: Path) -> None:
    before = objects(machine)
    assert "removed nothing" in run(tmp_path) and objects(machine) == before


@pytest.mark.parametrize("missing", ["STORE_URL", "FILES_URL"])
def test_a_bucket_is_not_judged_by_the_tasks_of_another_service(machine: Machine, tmp_path: Path, missing: str) -> None:
    before = objects(machine)
    told = run(tmp_path, code=2, CACHE_BUCKET_BYTES="0", **{missing: ""})
    assert "the same service's" in told and objects(machine) == before


def test_a_store_that_is_away_is_told(machine: Machine, tmp_path: Path) -> None:
    before = objects(machine)
    (tmp_path / "file").write_text("no folder")
    told = run(tmp_path, code=1, CACHE_BUCKET_BYTES="0", STORE_URL=f"sqlite:{tmp_path}/file/tasks.db")
    assert "did not come to its end" in told and objects(machine) == before


def test_old_tasks_and_unused_uploads_are_listed_and_go(machine: Machine, tmp_path: Path) -> None:
    store = open_store(tmp_path)
    task = make_task(status="failed", created_at=1000.0, finished_at=2000.0)
    store.insert(task)
    upload_id = "upload_1700000000_" + "0" * 32
    (tmp_path / "model").write_bytes(b"onnx")
    machine.files.upload(tmp_path / "model", f"uploads/{upload_id}/m.onnx")
    lives = {"TASK_LIFE_S": "3600", "UPLOAD_LIFE_S": "0.001"}
    assert "would remove nothing" in run(tmp_path, "--dry-run", TASK_LIFE_S="off", UPLOAD_LIFE_S="off")
    told = run(tmp_path, "--dry-run", **lives)
    assert f"task {task.id}, failed" in told and f"upload {upload_id}, 4 bytes" in told and store.get(task.id)
    done = run(tmp_path, **lives)
    assert "removed 1 old tasks" in done and "1 unused uploads go at the next run" in done
    assert store.get(task.id) is None and machine.files.stat(f"uploads/{upload_id}/m.onnx")
    store.close()
