"""Publishing: over nothing but what this claim saw there, and nothing left of a task that is not completed."""
from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared import transitions
from shared.documents import Status, Task
from shared.errors import PreconditionFailed
from shared.files import Condition, FileInfo, IfMatch
from shared.outputs import written_paths
from tests.integration.toy_models import model_with_data_beside_it
from tests.integration.worker_kit import (
    ONCE,
    STAGE_NAMES,
    TARGET,
    WAIT_S,
    Bench,
    FilesThat,
    Running,
    claim,
)
from worker.control import Wanted


def test_an_output_that_somebody_else_wrote_meanwhile_is_not_replaced(watched: Bench) -> None:
    path = f"out/model{TARGET.artefact_suffix}"
    parameters, gate = watched.gated("verify")
    running = Running(watched, watched.submit(parameters=parameters))
    running.at("verify")
    watched.upload(path, b"another's")
    gate.touch()
    failed = running.end()
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, "output_conflict", "publish")
    assert watched.content(path) == b"another's"
    assert watched.outputs() == [path]  # what this task had published beside it is gone again


@pytest.mark.parametrize("what", ["cancel", "delete"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_task_stopped_while_it_publishes_leaves_no_object(watched: Bench, what: str, number: int) -> None:
    task = watched.submit()
    seen: list[str] = []

    def stop(path: str) -> None:
        if path.startswith("out/"):
            seen.append(path)
            if len(seen) == number:
                assert watched.store.delete(task.id) if what == "delete" else watched.store.update(
                    task.id, transitions.cancel())

    watched.files.after_upload = stop
    after = watched.run(task)
    assert after is None if what == "delete" else (after.status, after.error.code) == (Status.FAILED, "cancelled")
    assert len(seen) >= number
    assert watched.outputs() == []


def test_a_stopped_task_removes_only_what_it_wrote_itself(watched: Bench) -> None:
    path = f"out/model{TARGET.artefact_suffix}"
    task = watched.submit()

    def overwrite_and_cancel(stored: str) -> None:
        if stored == path:
            watched.files.after_upload = lambda path: None
            watched.upload(path, b"another's")
            watched.store.update(task.id, transitions.cancel())

    watched.files.after_upload = overwrite_and_cancel
    watched.run(task)
    assert watched.outputs() == [path]
    assert watched.content(path) == b"another's"


def test_a_pause_at_the_moment_of_completing_parks_without_an_object_and_the_resumed_task_completes(
        watched: Bench) -> None:
    task = watched.submit()

    def pause(path: str) -> None:
        if path.endswith("manifest.json"):
            watched.files.after_upload = lambda path: None
            assert watched.store.update(task.id, transitions.pause())

    watched.files.after_upload = pause
    parked = watched.run(task)
    assert (parked.status, parked.owner, [r.name for r in parked.stages]) == (Status.PAUSED, None, STAGE_NAMES[:-1])
    assert watched.outputs() == []
    watched.store.update(task.id, transitions.resume())
    done = watched.run(task)
    assert done.status is Status.COMPLETED
    assert sorted(watched.outputs()) == sorted(done.result.objects())
    assert watched.runs() == ONCE


def test_a_pause_and_resume_at_the_moment_of_completing_publish_again_under_the_same_claim(watched: Bench) -> None:
    task = watched.submit()
    lease = claim(watched.store, task)
    park = lease.park
    lease.park = lambda: bool(watched.store.update(task.id, transitions.resume())) and park()

    def pause(path: str) -> None:
        if path.endswith("manifest.json"):
            watched.files.after_upload = lambda path: None
            assert watched.store.update(task.id, transitions.pause())

    watched.files.after_upload = pause
    watched.run_lease(lease)
    done = watched.store.get(task.id)
    assert (done.status, done.epoch) == (Status.COMPLETED, 1)
    assert [record.name for record in done.stages] == STAGE_NAMES
    assert sorted(watched.outputs()) == sorted(done.result.objects())


def own_output(bench: Bench) -> Task:
    """A task that named no output: its folder is its own."""
    task = bench.submit()
    path = f"out/{task.id}/model{TARGET.artefact_suffix}"
    moved = bench.store.update(task.id, transitions.Change({}, {"output_path": path}))
    assert moved
    return moved


def test_what_an_earlier_claim_takes_back_from_the_tasks_own_folder_is_no_conflict(
        watched: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    task = own_output(watched)
    stat = watched.files.stat

    def leave(path: str) -> None:
        if path == task.output_path:
            watched.files.on_upload = lambda path: None
            watched.upload(path, b"an earlier claim's")

    def take_back(path: str) -> FileInfo | None:
        if path == task.output_path:
            watched.files.delete(path)
        return stat(path)

    watched.files.on_upload = leave
    monkeypatch.setattr(watched.files, "stat", take_back)
    done = watched.run(task)
    assert done.status is Status.COMPLETED
    assert sorted(watched.outputs()) == sorted(done.result.objects())


class Sleeper(Running):
    """A worker that is frozen right before its first upload, the manifest's, or before those that follow it side by
    side, and has lost its claim meanwhile."""

    def __init__(self, bench: Bench, task: Task, *, wrote_manifest: bool = False) -> None:
        self.wrote_manifest = wrote_manifest
        self.all_asleep = threading.Barrier(len(written_paths(task)) - 2 if wrote_manifest else 1)
        self.asleep, self.wake = threading.Event(), threading.Event()
        bench.files.on_upload = self._sleep
        super().__init__(bench, task, "sleeper")
        assert self.asleep.wait(WAIT_S)
        assert bench.store.update(task.id, transitions.Change({}, {"owner": None}))

    def _sleep(self, path: str) -> None:
        if path.startswith("out/") and not (self.wrote_manifest and path.endswith(".manifest.json")):
            self.all_asleep.wait(WAIT_S)
            self.bench.files.on_upload = lambda path: None
            self.asleep.set()
            self.wake.wait(WAIT_S)


@pytest.mark.parametrize("make_task", [own_output, Bench.submit])
@pytest.mark.parametrize("wrote_manifest", [False, True])
def test_a_worker_that_slept_through_its_lease_cannot_overwrite_its_successors_result(
        watched: Bench, make_task: Callable[[Bench], Task], wrote_manifest: bool) -> None:
    task = make_task(watched)
    sleeper = Sleeper(watched, task, wrote_manifest=wrote_manifest)
    done = watched.run(task, "successor")
    assert done.status is Status.COMPLETED
    before = {path: watched.files.stat(path) for path in watched.outputs()}
    sleeper.wake.set()
    assert sleeper.end() == done
    assert {path: watched.files.stat(path) for path in watched.outputs()} == before
    assert sleeper.lease.control.wanted is Wanted.STOP


@pytest.mark.parametrize("make_task", [own_output, Bench.submit])
def test_a_successor_replaces_what_a_sleeping_worker_published_late(watched: Bench,
                                                                    make_task: Callable[[Bench], Task]) -> None:
    """It wakes up between the successor's claim and the successor's own upload, and its uploads still get through."""
    task = make_task(watched)
    sleeper = Sleeper(watched, task)

    def wake(path: str) -> None:
        if path.startswith("out/"):
            watched.files.on_upload = lambda path: None
            sleeper.wake.set()
            sleeper.thread.join(WAIT_S)

    watched.files.on_upload = wake
    done = watched.run(task, "successor")
    assert (done.status, done.error, done.epoch) == (Status.COMPLETED, None, 2)
    assert sorted(watched.outputs()) == sorted(done.result.objects())
    assert watched.runs() == ONCE


class FilesByContent(FilesThat):
    """As MinIO has it: equal contents have equal etags."""

    def stat(self, path: str) -> FileInfo | None:
        info = super().stat(path)
        return info and replace(info, etag=hashlib.md5((self._root / path).read_bytes()).hexdigest())

    def upload(self, source: Path, path: str, *, condition: Condition = None, **options: Any) -> FileInfo:
        if isinstance(condition, IfMatch):
            there = self.stat(path)
            if there is None or there.etag != condition.etag:
                raise PreconditionFailed(path)
            condition = None
        info = super().upload(source, path, condition=condition, **options)
        return replace(info, etag=hashlib.md5(source.read_bytes()).hexdigest())

    def delete(self, path: str, *, seen: FileInfo | None = None) -> None:
        there = self.stat(path)
        if seen is None or (there and (there.etag, there.mark) == (seen.etag, seen.mark)):
            super().delete(path)

    def download(self, path: str, target: Path, *, etag: str | None = None, **options: Any) -> FileInfo:
        if etag is not None and (found := self.stat(path)) and found.etag != etag:
            raise PreconditionFailed(path)
        info = super().download(path, target, **options)
        return replace(info, etag=hashlib.md5(target.read_bytes()).hexdigest())


def test_a_stopped_task_leaves_an_equal_artefact_that_was_there_before_it(watched: Bench) -> None:
    first = watched.run(watched.submit())
    watched.use_files(FilesByContent(watched.folder / "buckets"))
    task = watched.submit()

    def cancel(path: str) -> None:
        if path == first.output_path:
            assert watched.store.update(task.id, transitions.cancel())

    watched.files.after_upload = cancel
    assert watched.run(task).error.code == "cancelled"
    assert set(watched.outputs()) >= set(first.result.files)


def test_a_result_is_never_written_over_the_models_external_data(bench: Bench, tmp_path: Path) -> None:
    model, weights = model_with_data_beside_it(tmp_path)
    bench.upload("in/model.onnx", model)
    bench.upload("in/weights.bin", weights)
    failed = bench.run(bench.submit(output_path=f"in/weights{TARGET.artefact_suffix}"))
    assert (failed.error.code, failed.error.stage) == ("output_conflict", "publish")
    assert "in/weights.bin" in failed.error.message
    assert bench.content("in/weights.bin") == weights
    assert [info.path for info in bench.files.find("in/")] == ["in/model.onnx", "in/weights.bin"]


def test_a_cancelled_claim_does_not_take_back_the_same_file_that_the_retried_task_has_completed_with(
        watched: Bench) -> None:
    """Equal contents have equal etags. The first worker learns of the cancel, and sleeps before it cleans up."""
    watched.use_files(FilesByContent(watched.folder / "buckets"))
    task, done = watched.submit(), []

    def cancel(path: str) -> None:
        if path == task.output_path:
            watched.files.after_upload = lambda path: None
            assert watched.store.update(task.id, transitions.cancel())

    def sleep_before_cleaning(path: str) -> FileInfo | None:
        del watched.files.stat
        assert watched.store.update(task.id, transitions.retry())
        done.append(watched.run(task, "w2"))
        return watched.files.stat(path)

    watched.files.after_upload = cancel
    lease = claim(watched.store, task)
    was_dropped = lease.was_dropped

    def learn() -> bool:
        watched.files.stat = sleep_before_cleaning
        return was_dropped()

    lease.was_dropped = learn
    watched.run_lease(lease)
    assert done[0].status is Status.COMPLETED and done[0].epoch == 2
    assert sorted(watched.outputs()) == sorted(done[0].result.objects())


def test_a_claim_that_goes_on_after_a_pause_does_not_replace_what_somebody_wrote_meanwhile(watched: Bench) -> None:
    task = watched.submit()
    lease = claim(watched.store, task)
    park = lease.park

    def resume_first() -> bool:
        watched.upload(task.output_path, b"another's")
        watched.store.update(task.id, transitions.resume())
        return park()

    def pause(path: str) -> None:
        if path == task.output_path:
            watched.files.after_upload = lambda path: None
            assert watched.store.update(task.id, transitions.pause())

    lease.park = resume_first
    watched.files.after_upload = pause
    watched.run_lease(lease)
    assert watched.store.get(task.id).error.code == "output_conflict"
    assert (watched.outputs(), watched.content(task.output_path)) == ([task.output_path], b"another's")
