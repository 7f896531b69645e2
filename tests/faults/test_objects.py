"""An object store that fails, uploads that are cut, disks that are full: row 19 of the matrix in docs/faults.md."""
from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.servers import minio
from shared.documents import Status
from tests.faults.conftest import ProxyBefore, brought_to_rest
from tests.faults.proxy import Verdict
from tests.faults.run import Run
from tests.fixtures.common import missing
from tests.fixtures.disks import filled_up, mount, unmount
from tests.integration.worker_kit import wait_until

ONCE = {"prepare": 1, "compile": 1, "verify": 1}
DISK_BYTES = 64 << 20
FAILURE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def results_of(run: Run) -> list[str]:
    return [info.path for info in run.files.find(f"{run.settings.results_bucket}/")]


def manifests_of(run: Run) -> list[str]:
    return [info.path for info in run.files.find(f"{run.settings.cache_bucket}/stages/")]


# --- the line ---------------------------------------------------------------------------------------------------------


def test_row_19_while_the_object_store_answers_503_the_task_waits_with_its_work_kept(service_run: Run,
                                                                                    proxy_before: ProxyBefore) -> None:
    run, line = service_run, proxy_before(service_run.settings.files_url.get_secret_value())
    run.start_gateway()
    worker = run.start_worker(files_url=line[1])
    task_id = run.create(compile={"gate": str(run.gate())})
    run.pid_of(task_id, "compile")
    wait_until(lambda: [record.name for record in run.task(task_id).stages] == ["fetch", "prepare"])
    line[0].judge = lambda _: FAILURE
    run.gate().touch()
    wait_until(lambda: "waits to be shared" in worker.log.read_text())
    assert run.task(task_id).status is Status.RUNNING
    line[0].heal()
    [done] = run.wait_for(task_id)
    assert run.runs(task_id)["compile"] == 1
    assert done.retries == 0


def test_row_19_an_upload_that_is_cut_leaves_nothing_to_be_seen_and_is_sent_again(service_run: Run,
                                                                                 proxy_before: ProxyBefore) -> None:
    run, line = service_run, proxy_before(service_run.settings.files_url.get_secret_value())
    run.start_gateway()
    run.start_worker(files_url=line[1])
    cuts = 0

    def cut_bodies(chunk: bytes) -> Verdict:
        nonlocal cuts
        if chunk.startswith((b"PUT", b"GET", b"HEAD", b"POST", b"DELETE")) or len(chunk) < 1 << 14:
            return Verdict.PASS
        cuts += 1
        return Verdict.CUT

    line[0].judge = cut_bodies
    task_id = run.create(compile={"size_bytes": 4 << 20})
    wait_until(lambda: cuts >= 5)
    assert run.task(task_id).status is Status.RUNNING
    assert [path for path in results_of(run) if path.endswith((".xml", ".bin"))] == []
    assert len(manifests_of(run)) == 2, "compile's result is in the cache although it was never whole"
    line[0].heal()
    [done] = run.wait_for(task_id)
    assert done.result.size_bytes > 8 << 20
    assert run.runs(task_id) == ONCE


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of DISK_BYTES. Needs root."""
    folder = tmp_path / "disk"
    if why := mount(folder, DISK_BYTES):
        missing("a small tmpfs", why)
    yield folder
    unmount(folder)


@pytest.fixture
def cramped_run(tmp_path: Path, profile: dict[str, Any], small_disk: Path) -> Iterator[Run]:
    """Its workers work on the small disk."""
    with brought_to_rest(Run(tmp_path / "run", profile | {"work_dir": small_disk})) as run:
        yield run


def test_row_19_a_stage_that_fills_the_workers_disk_fails_as_disk_full_and_the_next_task_runs(
        cramped_run: Run) -> None:
    run = cramped_run
    run.start_gateway()
    worker = run.start_worker()
    task_id = run.create(compile={"fill_bytes": 2 * DISK_BYTES})
    [failed] = run.wait_for(task_id, status=Status.FAILED)
    assert (failed.error.code, failed.error.stage) == ("disk_full", "compile")
    assert [record.name for record in failed.stages] == ["fetch", "prepare"]
    another = run.create()
    run.wait_for(another)
    assert worker.process.is_running()


@pytest.fixture(params=["embedded", "service"])
def run_on_a_small_store(request: pytest.FixtureRequest, tmp_path: Path, small_disk: Path) -> Iterator[Run]:
    """Its objects lie on the small disk."""
    settings = request.getfixturevalue(request.param)
    if request.param == "embedded":
        with brought_to_rest(Run(tmp_path / "run", settings | {"files_url": f"file:{small_disk / 'buckets'}"})) as run:
            yield run
        return
    server = minio.start(small_disk)
    try:
        with brought_to_rest(Run(tmp_path / "run", settings | {"files_url": server.url})) as run:
            yield run
    finally:
        server.kill()


def test_row_19_while_the_object_stores_disk_is_full_nothing_half_written_is_seen_and_then_the_task_completes(
        run_on_a_small_store: Run, small_disk: Path) -> None:
    run = run_on_a_small_store
    run.start_gateway()
    run.start_worker()
    task_id = run.create(compile={"gate": str(run.gate()), "size_bytes": 1 << 20})
    run.pid_of(task_id, "compile")
    wait_until(lambda: len(run.task(task_id).stages) == 2)
    with filled_up(small_disk):
        run.gate().touch()
        wait_until(lambda: run.runs(task_id)["verify"] == 1)
        time.sleep(2.0)
        assert run.task(task_id).status is Status.RUNNING
        assert results_of(run) == []
        assert len(manifests_of(run)) == 2
    run.wait_for(task_id)
    assert run.runs(task_id)["compile"] == 1
