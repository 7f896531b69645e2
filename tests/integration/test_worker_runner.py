"""One claimed task from its claim to its end, over real stores, files, caches and toolhosts."""
from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from shared import transitions
from shared.errors import Unavailable
from shared.files import FileInfo
from shared.files.local import LocalFiles
from shared.models import Status, Task
from tests.integration.worker_kit import (
    PLAN,
    STAGE_NAMES,
    TARGET,
    Bench,
    LossyStore,
    alive,
    claim,
    toolhosts,
    wait_until,
)
from worker.control import Wanted
from worker.lease import Lease
from worker.process import ToolHost
from worker.runner import TaskRunner

COMPUTED = ["prepare", "compile", "verify"]
ONCE = dict.fromkeys(COMPUTED, 1)


@lru_cache
def small_model(value: float = 1.0) -> bytes:
    weight = numpy_helper.from_array(np.full((2, 2), value, np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def model_with_data_beside_it(folder: Path) -> tuple[bytes, bytes]:
    model = onnx.load_from_string(small_model())
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return (folder / "m.onnx").read_bytes(), (folder / "weights.bin").read_bytes()


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, ToolHost]]:
    with toolhosts() as started:
        yield started


@pytest.fixture
def bench(tmp_path: Path, hosts: dict[str, ToolHost]) -> Bench:
    bench = Bench(tmp_path, hosts)
    bench.upload("in/model.onnx", small_model())
    return bench


class Running:
    """A claimed task that runs in a thread, while the test does things to it."""

    def __init__(self, bench: Bench, task: Task, worker: str = "w1", lease: Lease | None = None) -> None:
        self.bench, self.task = bench, task
        self.lease = lease or claim(bench.store, task, worker)
        self.thread = threading.Thread(target=bench.run_lease, args=(self.lease,), daemon=True)
        self.thread.start()

    def at(self, stage: str) -> int:
        """Wait until the stage's process has begun; its pid."""
        def begun() -> int:
            text = self.bench.counter.read_text() if self.bench.counter.exists() else ""
            pids = [int(line.split()[1]) for line in text.splitlines() if line.split()[0] == stage]
            return pids[-1] if pids and text.endswith("\n") else 0
        return wait_until(begun)

    def change(self, change: transitions.Change) -> None:
        """As a client's action, whose doorbell reaches the worker."""
        assert self.bench.store.update(self.task.id, change) is not None
        self.lease.beat()

    def end(self) -> Task | None:
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.bench.store.get(self.task.id)


def gated(bench: Bench, stage: str, **more: Any) -> tuple[dict[str, Any], Path]:
    gate = bench.folder / f"gate-{stage}"
    return bench.parameters(gates={stage: str(gate)}, **more), gate


def outputs(bench: Bench) -> list[str]:
    return [info.path for info in bench.files.list("out/")]


# --- to the end -------------------------------------------------------------------------------------------------------


def test_a_task_runs_through_all_stages_and_publishes_its_artefact(bench: Bench) -> None:
    done = bench.run(bench.submit())
    assert (done.status, done.owner, done.progress, done.error) == (Status.COMPLETED, None, 100.0, None)
    assert [(record.name, record.cached) for record in done.stages] == [(name, False) for name in STAGE_NAMES]
    expected = TARGET.artefact_suffix.encode() + small_model()[::-1]
    assert bench.content(done.result.path) == expected
    assert done.result.size_bytes == sum(len(bench.content(path)) for path in done.result.files)
    assert set(done.result.files) == {f"out/model{suffix}" for suffix in (TARGET.artefact_suffix, *TARGET.also)}
    assert bench.runs() == ONCE


def test_the_manifest_beside_the_artefact_tells_what_ran(bench: Bench) -> None:
    done = bench.run(bench.submit())
    manifest = json.loads(bench.content(done.result.manifest_path))
    assert manifest["task_id"] == done.id
    assert [stage["name"] for stage in manifest["stages"]] == STAGE_NAMES[:-1]
    assert manifest["artefact"][0]["sha256"] == done.result.sha256
    assert manifest["stages"][1]["facts"] == {"size": len(small_model())}


def test_a_second_identical_task_takes_its_stages_from_the_cache(bench: Bench) -> None:
    bench.run(bench.submit())
    again = bench.run(bench.submit(output_path=f"out/other{TARGET.artefact_suffix}"))
    assert [record.cached for record in again.stages] == [True] * 4 + [False]
    assert bench.runs() == ONCE
    assert bench.content(again.output_path) == bench.content(f"out/model{TARGET.artefact_suffix}")


def test_a_machine_with_an_empty_cache_takes_them_from_the_object_store(bench: Bench,
                                                                        hosts: dict[str, ToolHost]) -> None:
    bench.run(bench.submit())
    other = Bench(bench.folder, hosts, cache_dir=bench.folder / "other-cache")
    again = other.run(other.submit())
    assert [record.cached for record in again.stages] == [True] * 4 + [False]
    assert bench.runs() == ONCE


def test_another_parameter_runs_only_the_stages_that_read_it(bench: Bench) -> None:
    bench.run(bench.submit())
    changed = bench.run(bench.submit(parameters=bench.parameters(reject=False)))
    assert [record.cached for record in changed.stages] == [True, True, True, False, False]
    assert bench.runs() == {**ONCE, "verify": 2}


def test_a_model_with_another_name_and_equal_bytes_shares_the_later_stages(bench: Bench) -> None:
    bench.run(bench.submit())
    bench.upload("in/copy.onnx", small_model())
    again = bench.run(bench.submit(input_path="in/copy.onnx"))
    assert [record.cached for record in again.stages] == [False, True, True, True, False]


def test_an_overwritten_model_is_converted_anew(bench: Bench) -> None:
    bench.run(bench.submit())
    bench.upload("in/model.onnx", small_model(2.0))
    done = bench.run(bench.submit())
    assert bench.content(done.result.path).endswith(small_model(2.0)[::-1])
    assert bench.runs() == dict.fromkeys(COMPUTED, 2)


def test_external_data_is_fetched_and_its_change_is_noticed(bench: Bench) -> None:
    model, weights = model_with_data_beside_it(bench.folder)
    bench.upload("in/model.onnx", model)
    bench.upload("in/weights.bin", weights)
    first = bench.run(bench.submit())
    again = bench.run(bench.submit())
    bench.upload("in/weights.bin", bytes(len(weights)))
    changed = bench.run(bench.submit())
    fetched = [task.stages[0] for task in (first, again, changed)]
    assert [record.cached for record in fetched] == [False, True, False]
    assert fetched[0].output_digest == fetched[1].output_digest != fetched[2].output_digest


def test_external_data_that_is_missing_fails_the_task_in_fetch(bench: Bench) -> None:
    model, _ = model_with_data_beside_it(bench.folder)
    bench.upload("in/model.onnx", model)
    failed = bench.run(bench.submit())
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, "external_data_missing", "fetch")
    assert "in/weights.bin" in failed.error.hint


def test_a_missing_model_fails_the_task_in_fetch(bench: Bench) -> None:
    failed = bench.run(bench.submit(input_path="in/none.onnx"))
    assert (failed.error.code, failed.error.stage, outputs(bench)) == ("input_not_found", "fetch", [])


def test_a_model_above_the_limit_fails_the_task_in_fetch(bench: Bench, hosts: dict[str, ToolHost]) -> None:
    small = Bench(bench.folder, hosts, max_model_bytes=10)
    assert small.run(small.submit()).error.code == "model_too_large"


def test_a_refusing_stage_fails_the_task_with_its_own_words(bench: Bench) -> None:
    failed = bench.run(bench.submit(parameters=bench.parameters(reject=True)))
    assert (failed.status, failed.owner) == (Status.FAILED, None)
    assert (failed.error.code, failed.error.stage, failed.error.hint) == ("accuracy_too_low", "verify", "use fp32")
    assert [record.name for record in failed.stages] == ["fetch", "prepare", "compile"]
    assert outputs(bench) == []


def test_a_retry_starts_after_the_last_finished_stage(bench: Bench) -> None:
    task = bench.submit(parameters=bench.parameters(reject=True))
    bench.run(task)
    bench.store.update(task.id, transitions.retry())
    bench.store.update(task.id, transitions.Change({}, {"parameters": bench.parameters()}))
    done = bench.run(task)
    assert done.status is Status.COMPLETED
    assert bench.runs() == {**ONCE, "verify": 2}


# --- pause, resume, stop ----------------------------------------------------------------------------------------------


def test_a_task_paused_between_stages_parks_and_goes_on_elsewhere_without_a_second_run(
        bench: Bench, hosts: dict[str, ToolHost]) -> None:
    parameters, gate = gated(bench, "prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    assert bench.store.update(running.task.id, transitions.pause())
    gate.touch()  # the stage ends before the worker hears of the pause
    parked = running.end()
    assert (parked.status, parked.owner, parked.stages[-1].name) == (Status.PAUSED, None, "prepare")

    bench.store.update(running.task.id, transitions.resume())
    other = Bench(bench.folder, hosts, cache_dir=bench.folder / "other-cache")
    done = other.run(running.task, "w2")
    assert (done.status, done.epoch) == (Status.COMPLETED, 2)
    assert bench.runs() == ONCE


def test_a_stage_paused_in_the_middle_goes_on_where_it_stood(bench: Bench) -> None:
    parameters, gate = gated(bench, "compile")
    running = Running(bench, bench.submit(parameters=parameters))
    pid = running.at("compile")
    running.change(transitions.pause())
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
    running.change(transitions.resume())
    gate.touch()
    done = running.end()
    assert (done.status, done.epoch) == (Status.COMPLETED, 1)
    assert bench.runs() == ONCE


def test_a_stage_held_for_too_long_is_given_up_and_only_it_runs_again(tmp_path: Path,
                                                                      hosts: dict[str, ToolHost]) -> None:
    bench = Bench(tmp_path, hosts, hold_s=0.3)
    bench.upload("in/model.onnx", small_model())
    parameters, gate = gated(bench, "compile")
    running = Running(bench, bench.submit(parameters=parameters))
    pid = running.at("compile")
    running.change(transitions.pause())
    parked = running.end()
    assert (parked.status, parked.owner, parked.stages[-1].name) == (Status.PAUSED, None, "prepare")
    assert not alive([pid])
    gate.touch()
    bench.store.update(running.task.id, transitions.resume())
    assert bench.run(running.task).status is Status.COMPLETED
    assert bench.runs() == {**ONCE, "compile": 2}


def test_a_resume_that_comes_before_the_park_lets_the_task_go_on(tmp_path: Path, hosts: dict[str, ToolHost]) -> None:
    """The stage is killed after the hold time; the client resumes at that moment; the same claim runs it again."""
    bench = Bench(tmp_path, hosts, hold_s=0.2)
    bench.upload("in/model.onnx", small_model())
    parameters, gate = gated(bench, "compile")
    lease = claim(bench.store, bench.submit(parameters=parameters))
    park = lease.park

    def resumed_just_before() -> bool:
        gate.touch()
        assert bench.store.update(lease.task.id, transitions.resume())
        return park()

    lease.park = resumed_just_before
    running = Running(bench, lease.task, lease=lease)
    running.at("compile")
    running.change(transitions.pause())
    done = running.end()
    assert (done.status, done.epoch) == (Status.COMPLETED, 1)
    assert bench.runs() == {**ONCE, "compile": 2}


def test_a_task_paused_before_its_first_stage_parks_untouched(bench: Bench) -> None:
    task = bench.submit()
    lease = claim(bench.store, task)
    bench.store.update(task.id, transitions.pause())
    bench.run_lease(lease)
    parked = bench.store.get(task.id)
    assert (parked.status, parked.owner, parked.stage, parked.stages) == (Status.PAUSED, None, None, [])


@pytest.mark.parametrize("what", ["cancel", "delete"])
def test_a_task_stopped_in_the_middle_of_a_stage_leaves_nothing(bench: Bench, what: str) -> None:
    parameters, _ = gated(bench, "compile")
    running = Running(bench, bench.submit(parameters=parameters))
    pid = running.at("compile")
    if what == "cancel":
        bench.store.update(running.task.id, transitions.cancel())
    else:
        bench.store.delete(running.task.id)
    running.lease.beat()
    after = running.end()
    assert after is None if what == "delete" else after.error.code == "cancelled"
    assert not alive([pid])
    assert outputs(bench) == []


def test_a_task_that_another_worker_took_over_is_left_alone(bench: Bench) -> None:
    parameters, gate = gated(bench, "compile")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("compile")
    bench.store.update(running.task.id, transitions.Change({}, {"owner": None}))
    taken = bench.store.update(running.task.id, transitions.claim("w2"))
    gate.touch()
    assert running.end() == taken


def test_a_draining_worker_finishes_the_stage_and_gives_the_task_back(bench: Bench) -> None:
    parameters, gate = gated(bench, "prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    running.lease.control.release()
    gate.touch()
    released = running.end()
    assert (released.status, released.owner, released.retries) == (Status.RUNNING, None, 0)
    assert released.stages[-1].name == "prepare"
    assert bench.run(running.task).status is Status.COMPLETED
    assert bench.runs() == ONCE


def test_a_stage_that_fails_while_the_task_is_paused_runs_again_after_the_resume(bench: Bench) -> None:
    parameters, gate = gated(bench, "verify", reject=True)
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("verify")
    bench.store.update(running.task.id, transitions.pause())
    gate.touch()
    parked = running.end()
    assert (parked.status, parked.owner, parked.error) == (Status.PAUSED, None, None)
    bench.store.update(running.task.id, transitions.resume())
    assert bench.run(running.task).error.code == "accuracy_too_low"
    assert bench.runs() == {**ONCE, "verify": 2}


# --- publishing -------------------------------------------------------------------------------------------------------


class FilesThat(LocalFiles):
    """The real store; `on_upload(path)` is called before each upload, and may raise."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.on_upload: Callable[[str], None] = lambda path: None
        self.after_upload: Callable[[str], None] = lambda path: None

    def upload(self, source: Path, path: str, **options: Any) -> FileInfo:
        self.on_upload(path)
        info = super().upload(source, path, **options)
        self.after_upload(path)
        return info


@pytest.fixture
def watched(bench: Bench, tmp_path: Path) -> Bench:
    bench.files = FilesThat(tmp_path / "buckets")
    object.__setattr__(bench.tools, "files", bench.files)
    bench.tools.cache._files = bench.files
    return bench


def test_an_output_that_lay_there_before_the_claim_is_replaced(bench: Bench) -> None:
    bench.upload(f"out/model{TARGET.artefact_suffix}", b"older")
    done = bench.run(bench.submit())
    assert done.status is Status.COMPLETED
    assert bench.content(done.result.path).endswith(small_model()[::-1])


def test_an_output_that_somebody_else_wrote_meanwhile_is_not_replaced(watched: Bench) -> None:
    path = f"out/model{TARGET.artefact_suffix}"
    parameters, gate = gated(watched, "verify")
    running = Running(watched, watched.submit(parameters=parameters))
    running.at("verify")
    watched.upload(path, b"another's")
    gate.touch()
    failed = running.end()
    assert (failed.status, failed.error.code, failed.error.stage) == (Status.FAILED, "output_conflict", "publish")
    assert watched.content(path) == b"another's"
    assert outputs(watched) == [path]  # what this task had published beside it is gone again


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
    assert outputs(watched) == []


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
    assert outputs(watched) == [path]
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
    assert outputs(watched) == []
    watched.store.update(task.id, transitions.resume())
    done = watched.run(task)
    assert done.status is Status.COMPLETED
    assert len(outputs(watched)) == len(done.result.files) + 1
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
    assert len(outputs(watched)) == len(done.result.files) + 1


def test_a_worker_that_slept_through_its_lease_cannot_overwrite_its_successors_result(watched: Bench) -> None:
    """It sleeps between its last look at the task and its first upload; the successor publishes meanwhile."""
    task = watched.submit()
    asleep, go = threading.Event(), threading.Event()

    def sleep(path: str) -> None:
        if path.startswith("out/"):
            watched.files.on_upload = lambda path: None
            asleep.set()
            go.wait(30)

    watched.files.on_upload = sleep
    sleeper = Running(watched, task, "sleeper")
    assert asleep.wait(20)
    watched.store.update(task.id, transitions.Change({}, {"owner": None}))
    done = watched.run(task, "successor")
    assert done.status is Status.COMPLETED
    before = {path: watched.files.stat(path) for path in outputs(watched)}
    go.set()
    assert sleeper.end() == done
    assert {path: watched.files.stat(path) for path in outputs(watched)} == before
    assert sleeper.lease.control.wanted is Wanted.STOP


def test_a_successor_replaces_what_a_sleeping_worker_published_late(watched: Bench) -> None:
    """It wakes up between the successor's claim and the successor's own upload, and its upload still gets through."""
    task = watched.submit()
    asleep, go = threading.Event(), threading.Event()

    def sleep(path: str) -> None:
        if path.startswith("out/"):
            watched.files.on_upload = wake
            asleep.set()
            go.wait(30)

    def wake(path: str) -> None:
        if path.startswith("out/") and not go.is_set():
            watched.files.on_upload = lambda path: None
            go.set()
            sleeper.thread.join(30)

    watched.files.on_upload = sleep
    sleeper = Running(watched, task, "sleeper")
    assert asleep.wait(20)
    watched.store.update(task.id, transitions.Change({}, {"owner": None}))
    done = watched.run(task, "successor")
    assert (done.status, done.error) == (Status.COMPLETED, None)
    assert json.loads(watched.content(done.result.manifest_path))["task_id"] == task.id
    assert watched.runs() == ONCE


# --- what goes wrong around it ----------------------------------------------------------------------------------------


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
    watched.files.on_upload = lambda path: None
    wait_until(lambda: (owned := watched.store.waiting([task.platform], limit=1)) and owned[0].id == task.id)
    assert watched.run(task).status is Status.COMPLETED
    assert watched.runs() == ONCE


def test_a_result_that_waits_for_the_object_store_is_shared_when_it_is_back(watched: Bench) -> None:
    parameters, gate = gated(watched, "compile")
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
    assert running.end().status is Status.COMPLETED


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
    parameters, gate = gated(bench, "prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    bench.store.update(running.task.id, transitions.pause())
    gate.touch()
    running.end()
    shutil.rmtree(bench.settings.cache_dir)
    (bench.settings.cache_dir / "tmp").mkdir(parents=True)
    for info in list(bench.files.list(f"{bench.settings.cache_bucket}/blobs/")):
        bench.files.delete(info.path)
    bench.store.update(running.task.id, transitions.resume())
    done = bench.run(running.task)
    assert (done.status, [record.name for record in done.stages]) == (Status.COMPLETED, STAGE_NAMES)
    assert bench.runs() == {**ONCE, "prepare": 2}


def test_a_lost_fetch_is_not_replaced_by_other_bytes_under_its_key(bench: Bench) -> None:
    parameters, gate = gated(bench, "prepare")
    running = Running(bench, bench.submit(parameters=parameters))
    running.at("prepare")
    bench.store.update(running.task.id, transitions.pause())
    gate.touch()
    recorded = running.end().stages[0]
    shutil.rmtree(bench.settings.cache_dir)
    (bench.settings.cache_dir / "tmp").mkdir(parents=True)
    for info in list(bench.files.list(f"{bench.settings.cache_bucket}/")):
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

    object.__setattr__(bench.tools, "files", Racing(bench.folder / "buckets"))
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

    object.__setattr__(bench.tools, "files", Restless(bench.folder / "buckets"))
    assert bench.run(bench.submit()).error.code == "input_unstable"


def test_a_cache_of_no_size_only_costs_time(tmp_path: Path, hosts: dict[str, ToolHost]) -> None:
    bench = Bench(tmp_path, hosts, cache_bytes=0)
    bench.upload("in/model.onnx", small_model())
    assert bench.run(bench.submit()).status is Status.COMPLETED
    assert bench.run(bench.submit()).status is Status.COMPLETED
    assert bench.runs() == ONCE


def test_a_stage_killed_from_outside_runs_again_and_the_task_completes(bench: Bench) -> None:
    parameters, gate = gated(bench, "compile")
    running = Running(bench, bench.submit(parameters=parameters))
    os.kill(running.at("compile"), signal.SIGKILL)
    wait_until(lambda: bench.runs()["compile"] == 2)
    gate.touch()
    done = running.end()
    assert (done.status, done.epoch) == (Status.COMPLETED, 1)


def test_a_stage_killed_from_outside_every_time_fails_the_task(bench: Bench) -> None:
    parameters, _ = gated(bench, "compile")
    running = Running(bench, bench.submit(parameters=parameters))
    for attempt in (1, 2, 3):
        wait_until(lambda attempt=attempt: bench.runs()["compile"] == attempt)
        os.kill(running.at("compile"), signal.SIGKILL)
    failed = running.end()
    assert (failed.error.code, failed.error.stage) == ("killed", "compile")
    assert "memory" in failed.error.hint


def test_a_host_killed_in_mid_stage_costs_the_task_nothing_but_time(bench: Bench) -> None:
    parameters, gate = gated(bench, "compile")
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

    object.__setattr__(bench.tools, "files", Full(bench.folder / "buckets"))
    failed = bench.run(bench.submit())
    assert (failed.error.code, failed.error.stage) == ("disk_full", "fetch")


def test_an_error_of_the_workers_own_fails_the_task_without_telling_its_paths(bench: Bench) -> None:
    class Broken(LocalFiles):
        def download(self, *args: Any, **options: Any) -> FileInfo:
            raise ZeroDivisionError("/secret/path")

    object.__setattr__(bench.tools, "files", Broken(bench.folder / "buckets"))
    failed = bench.run(bench.submit())
    assert (failed.error.code, failed.error.message) == ("internal_error", "internal error: ZeroDivisionError")
    assert failed.owner is None


def test_limits_that_a_task_asks_for_hold_and_never_exceed_the_servers(bench: Bench,
                                                                       hosts: dict[str, ToolHost]) -> None:
    parameters, _ = gated(bench, "prepare")
    failed = bench.run(bench.submit(parameters=parameters | {"limits": {"stage_time_s": 0.3}}))
    assert (failed.error.code, failed.error.stage) == ("timeout", "prepare")
    strict = Bench(bench.folder, hosts, stage_time_s=0.3)
    failed = strict.run(strict.submit(parameters=parameters | {"limits": {"stage_time_s": 300.0}}))
    assert failed.error.code == "timeout"


def test_progress_grows_with_the_stages_weights(bench: Bench) -> None:
    parameters, gate = gated(bench, "compile")
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
