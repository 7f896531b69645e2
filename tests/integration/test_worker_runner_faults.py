"""What goes wrong around a task: lost answers, lost results, killed stages, a full disk."""
from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import Status, Task
from shared.errors import StorageRefused, Unavailable
from shared.files import FileInfo
from shared.files.local import LocalFiles
from tests.integration.toy_models import small_model
from tests.integration.worker_kit import (
    ONCE,
    PLAN,
    STAGE_NAMES,
    TARGET,
    Bench,
    LossyStore,
    Running,
    claim,
    wait_until,
)
from worker.lease import Lease
from worker.process import ToolHost
from worker.runner import TaskRunner


@pytest.mark.parametrize("after", [False, True])
def test_lost_answers_of_the_store_change_nothing(bench: Bench, after: bool) -> None:
    """Every other write of the whole run fails, before or after it took place."""
    class Flaky(LossyStore):
        def update(self, task_id: str, change: transitions.Change) -> Task | None:
            if self.writes_seen % 2 == 0:
                vars(self).update({"after" if after else "before": 1})
            return super().update(task_id, change)

    task = bench.submit()
    lease = claim(bench.store, task)
    bench.run_lease(Lease(Flaky(bench.store), lease.task, lease.control))
    done = bench.store.get(task.id)
    assert (done.status, [record.name for record in done.stages]) == (Status.COMPLETED, STAGE_NAMES)
    assert bench.runs() == ONCE


def test_an_object_store_that_goes_away_gives_the_task_back_and_nothing_is_lost(watched: Bench) -> None:
    def away(path: str) -> None:
        raise Unavailable("files", "told to")

    watched.files.on_upload = away
    task = watched.submit()
    released = watched.run(task)
    assert (released.status, released.owner, released.retries, released.error) == (Status.RUNNING, None, 0, None)
    assert released.next_run_at > 0
    assert released.waits_for == watched.store.events(task.id)[-1].data["waits_for"] == "files"
    watched.files.on_upload = lambda path: None
    wait_until(lambda: (owned := watched.store.waiting([task.platform], limit=1)) and owned[0].id == task.id)
    assert watched.run(task).status is Status.COMPLETED
    assert watched.runs() == ONCE


def test_a_task_ends_when_the_object_store_stays_away_and_a_retry_counts_anew(
        watched: Bench, hosts: dict[str, ToolHost]) -> None:
    def away(path: str) -> None:
        raise Unavailable("files", "told to")

    bench = Bench(watched.folder, hosts, max_returns=2, retry_delay_s=0.05)
    bench.use_files(watched.files)
    watched.files.on_upload = away
    task = bench.submit()
    pauses = []
    for _ in range(2):
        for _ in range(2):
            given_back = bench.run(task)
            assert (given_back.status, given_back.waits_for) == (Status.RUNNING, "files")
            pauses.append(round(given_back.next_run_at - given_back.updated_at, 3))
            wait_until(lambda: bench.store.waiting([task.platform], limit=1))
        failed = bench.run(task)
        assert (failed.status, failed.owner, failed.error.code) == (Status.FAILED, None, "storage_unavailable")
        assert "3" in failed.error.message and failed.error.hint
        bench.store.update(task.id, transitions.retry())
    assert pauses == [0.05, 0.1, 0.05, 0.1]
    watched.files.on_upload = lambda path: None
    assert bench.run(task).status is Status.COMPLETED


def test_a_task_whose_dependency_is_away_is_given_back_even_if_it_is_resumed_at_that_moment(watched: Bench) -> None:
    def away(path: str) -> None:
        raise Unavailable("files", "told to")

    watched.files.on_upload = away
    parameters, gate = watched.gated("verify")
    lease = claim(watched.store, watched.submit(parameters=parameters))
    park = lease.park
    lease.park = lambda: bool(watched.store.update(lease.task.id, transitions.resume())) and park()
    release = lease.release

    def paused_just_before(*arguments: Any) -> bool:
        lease.release = release
        assert watched.store.update(lease.task.id, transitions.pause())
        return release(*arguments)

    lease.release = paused_just_before
    gate.touch()
    watched.run_lease(lease)
    released = watched.store.get(lease.task.id)
    assert (released.status, released.owner) == (Status.RUNNING, None)


def test_a_result_that_waits_for_the_object_store_is_shared_when_it_is_back(watched: Bench) -> None:
    parameters, gate = watched.gated("compile")
    failures = []

    def away_for_a_while(path: str) -> None:
        if path.startswith(watched.settings.cache_bucket) and len(failures) < 2:
            failures.append(path)
            raise Unavailable("files", "told to")

    watched.files.on_upload = away_for_a_while
    running = Running(watched, watched.submit(parameters=parameters))
    running.at("compile")
    wait_until(lambda: [r.name for r in watched.store.get(running.task.id).stages] == ["fetch", "prepare"])
    assert len(failures) == 2
    gate.touch()
    done = running.end()
    assert (done.status, done.waits_for) == (Status.COMPLETED, None)
    told = [(event.type, event.data) for event in watched.store.events(done.id)]
    assert told.index(("waiting", {"waits_for": "files"})) < told.index(("wait_over", {}))


def test_what_a_dead_worker_did_not_get_to_share_is_shared_by_the_next_on_that_machine(
        watched: Bench, hosts: dict[str, ToolHost]) -> None:
    def away(path: str) -> None:
        raise Unavailable("files", "told to")

    watched.files.on_upload = away
    task = watched.submit()
    watched.run(task)
    watched.files.on_upload = lambda path: None
    wait_until(lambda: watched.store.waiting([task.platform], limit=1))
    assert watched.run(task).status is Status.COMPLETED
    other = Bench(watched.folder, hosts, cache_dir=watched.folder / "other-cache")
    assert other.run(other.submit()).status is Status.COMPLETED
    assert watched.runs() == ONCE


def test_a_lost_result_of_a_recorded_stage_is_made_again(bench: Bench) -> None:
    """Paused after `prepare`; then both caches lose it, and fetch as well."""
    parameters, gate = bench.gated("prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    bench.store.update(running.task.id, transitions.pause())
    gate.touch()
    running.end()
    shutil.rmtree(bench.settings.cache_dir)
    (bench.settings.cache_dir / "tmp").mkdir(parents=True)
    for info in list(bench.files.find(f"{bench.settings.cache_bucket}/blobs/")):
        bench.files.delete(info.path)
    bench.store.update(running.task.id, transitions.resume())
    done = bench.run(running.task)
    assert (done.status, [record.name for record in done.stages]) == (Status.COMPLETED, STAGE_NAMES)
    assert bench.runs() == {**ONCE, "prepare": 2}


def test_a_lost_fetch_is_not_replaced_by_other_bytes_under_its_key(bench: Bench) -> None:
    parameters, gate = bench.gated("prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    bench.store.update(running.task.id, transitions.pause())
    gate.touch()
    recorded = running.end().stages[0]
    shutil.rmtree(bench.settings.cache_dir)
    (bench.settings.cache_dir / "tmp").mkdir(parents=True)
    for info in list(bench.files.find(f"{bench.settings.cache_bucket}/")):
        bench.files.delete(info.path)
    bench.upload("in/model.onnx", small_model(3.0))
    bench.store.update(running.task.id, transitions.resume())
    done = bench.run(running.task)
    assert done.status is Status.COMPLETED
    assert done.stages[0].key != recorded.key


def test_a_model_overwritten_while_it_is_fetched_is_fetched_again_under_its_own_key(bench: Bench) -> None:
    class Racing(LocalFiles):
        raced = False

        def download(self, path: str, target: Path, **options: Any) -> FileInfo:
            if path == "in/model.onnx" and not self.raced:
                self.raced = True
                bench.upload(path, small_model(5.0))
            return super().download(path, target, **options)

    bench.use_files(Racing(bench.folder / "buckets"))
    done = bench.run(bench.submit())
    assert bench.content(done.result.path).endswith(small_model(5.0)[::-1])
    again = bench.run(bench.submit())
    assert [record.cached for record in again.stages] == [True] * 4 + [False]


def test_a_model_that_never_stops_changing_fails_the_task(bench: Bench) -> None:
    class Restless(LocalFiles):
        number = 0.0

        def download(self, path: str, target: Path, **options: Any) -> FileInfo:
            if path == "in/model.onnx":
                self.number += 1
                bench.upload(path, small_model(self.number))
            return super().download(path, target, **options)

    bench.use_files(Restless(bench.folder / "buckets"))
    assert bench.run(bench.submit()).error.code == "input_unstable"


def test_a_cache_of_no_size_only_costs_time(tmp_path: Path, hosts: dict[str, ToolHost]) -> None:
    bench = Bench(tmp_path, hosts, cache_bytes=0)
    bench.upload("in/model.onnx", small_model())
    assert bench.run(bench.submit()).status is Status.COMPLETED
    assert bench.run(bench.submit()).status is Status.COMPLETED
    assert bench.runs() == ONCE


def test_a_stage_killed_from_outside_runs_again_and_the_task_completes(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    os.kill(running.at("compile"), signal.SIGKILL)
    wait_until(lambda: bench.runs()["compile"] == 2)
    gate.touch()
    done = running.end()
    assert (done.status, done.epoch) == (Status.COMPLETED, 1)


def test_a_stage_killed_from_outside_every_time_fails_the_task(bench: Bench) -> None:
    parameters, _ = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    for attempt in (1, 2, 3):
        wait_until(lambda attempt=attempt: bench.runs()["compile"] == attempt)
        os.kill(running.at("compile"), signal.SIGKILL)
    failed = running.end()
    assert (failed.error.code, failed.error.stage) == ("killed", "compile")
    assert "memory" in failed.error.hint


def test_a_host_killed_in_mid_stage_costs_the_task_nothing_but_time(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("compile")
    os.kill(bench.tools.hosts["toy"].pid, signal.SIGKILL)
    wait_until(lambda: bench.runs()["compile"] == 2)
    gate.touch()
    assert running.end().status is Status.COMPLETED


def test_a_full_disk_fails_the_task_clearly(bench: Bench) -> None:
    class Full(LocalFiles):
        def download(self, *args: Any, **options: Any) -> FileInfo:
            raise OSError(28, "No space left on device")

    bench.use_files(Full(bench.folder / "buckets"))
    failed = bench.run(bench.submit())
    assert (failed.error.code, failed.error.stage) == ("disk_full", "fetch")


class Refusing(LocalFiles):
    """Refuses each write into a bucket, as a folder does that nobody may write."""

    bucket = "out"

    def upload(self, source: Path, path: str, **options: Any) -> FileInfo:
        if path.startswith(f"{self.bucket}/"):
            raise StorageRefused(path, "Permission denied")
        return super().upload(source, path, **options)


def test_an_output_that_cannot_be_written_fails_the_task_with_the_stores_reason(bench: Bench) -> None:
    bench.use_files(Refusing(bench.folder / "buckets"))
    failed = bench.run(bench.submit())
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, "storage_refused", "publish")
    assert "out/" in failed.error.message and "Permission denied" in failed.error.message and failed.owner is None
    bench.use_files(LocalFiles(bench.folder / "buckets"))
    assert bench.run(bench.submit()).status is Status.COMPLETED


def test_a_cache_that_cannot_be_written_fails_the_task_with_the_stores_reason(bench: Bench) -> None:
    files = Refusing(bench.folder / "buckets")
    files.bucket = bench.settings.cache_bucket
    bench.use_files(files)
    failed = bench.run(bench.submit())
    assert (failed.status, failed.error.code) == (Status.FAILED, "storage_refused")


def test_an_output_below_an_object_fails_the_task_as_a_conflict(bench: Bench) -> None:
    bench.upload("out/taken", b"an object")
    failed = bench.run(bench.submit(output_path=f"out/taken/model{TARGET.artefact_suffix}"))
    assert (failed.error.code, failed.error.stage) == ("output_conflict", "publish")
    assert bench.content("out/taken") == b"an object"


def test_an_error_of_the_workers_own_fails_the_task_without_telling_its_paths(bench: Bench) -> None:
    class Broken(LocalFiles):
        def download(self, *args: Any, **options: Any) -> FileInfo:
            raise ZeroDivisionError("/secret/path")

    bench.use_files(Broken(bench.folder / "buckets"))
    failed = bench.run(bench.submit())
    assert (failed.error.code, failed.error.message) == ("internal_error", "internal error: ZeroDivisionError")
    assert failed.owner is None


def test_limits_that_a_task_asks_for_hold_and_never_exceed_the_servers(bench: Bench,
                                                                       hosts: dict[str, ToolHost]) -> None:
    bench.run(bench.submit())  # so that `fetch` is in the cache: on a busy machine it takes longer than the limit
    parameters, _ = bench.gated("prepare")
    failed = bench.run(bench.submit(parameters=parameters | {"limits": {"stage_time_s": 0.3}}))
    assert (failed.error.code, failed.error.stage) == ("timeout", "prepare")
    strict = Bench(bench.folder, hosts, stage_time_s=0.3)
    failed = strict.run(strict.submit(parameters=parameters | {"limits": {"stage_time_s": 300.0}}))
    assert failed.error.code == "timeout"


def test_progress_grows_with_the_stages_weights(bench: Bench) -> None:
    parameters, gate = bench.gated("compile")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("compile")
    total = len(PLAN.stages)
    half_through_the_third = round(100 * 2.5 / total, 1)
    wait_until(lambda: running.lease.control.progress == half_through_the_third)
    running.lease.beat()
    assert bench.store.get(running.task.id).progress == half_through_the_third
    wait_until(lambda: [r.name for r in bench.store.get(running.task.id).stages] == ["fetch", "prepare"])
    assert bench.store.get(running.task.id).stage == "compile"  # though the record of `prepare` came later
    gate.touch()
    running.end()


def test_the_runner_never_raises_what_a_task_could_cause(bench: Bench) -> None:
    task = bench.submit(parameters={"counter": str(bench.counter)})  # without `suffixes`: the stage falls over
    lease = claim(bench.store, task)
    TaskRunner(bench.tools, PLAN, lease, bench.folder / "work" / "t").run()
    assert bench.store.get(task.id).error.code == "stage_crashed"
