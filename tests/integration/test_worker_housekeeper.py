"""A worker beside its tasks: what it tells and hears of results, and that nothing grows for ever."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared import transitions
from shared.cached.collector import Collector
from shared.cached.notices import LIFE_S, write_notice
from shared.documents import StageRecord, Status
from shared.errors import Unavailable
from shared.store.sqlite_space import KEPT_PAGES
from tests.integration.test_worker_cache import BUCKET, Machine
from tests.integration.worker_kit import Bench, Running, make_settings, make_task, open_store, wait_until
from worker.cache import HEARD, SHARED
from worker.housekeeper import Housekeeper
from worker.process import ToolHost
from worker.results import StageResult

Keep = Callable[..., Housekeeper]


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "here")


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    """Start the housekeeper of a machine's worker."""
    started: list[Housekeeper] = []

    def start(machine: Machine, **settings: object) -> Housekeeper:
        changes = {"sweep_s": 0.05, "cache_bucket": BUCKET, "gc_every_s": 1e6, **settings}
        started.append(Housekeeper(machine.files, open_store(tmp_path), machine.cache,
                                   make_settings(tmp_path, **changes)))
        return started[-1]

    yield start
    for housekeeper in started:
        housekeeper.close()


def record(folder: Path, *results: StageResult) -> str:
    task = make_task(status=Status.COMPLETED, stages=[
        StageRecord(name=result.stage, key=result.key, output_digest="0" * 64, seconds=1.0, cached=False)
        for result in results])
    open_store(folder).insert(task)
    return task.id


def stored(machine: Machine) -> set[str]:
    return {info.path.rpartition("/")[2] for prefix in ("stages/", "blobs/")
            for info in machine.files.find(f"{BUCKET}/{prefix}")}


def objects(*results: StageResult) -> set[str]:
    return {name for result in results
            for name in (f"{result.key}.json", *(about["sha256"] for about in result.files.values()))}


def test_what_was_removed_from_the_object_store_is_shared_again_by_whoever_uses_it(here: Machine, keep: Keep) -> None:
    gone, kept = (here.keep(name, {"x": name.encode()}, share=True) for name in ("gone", "kept"))
    here.files.delete(f"{BUCKET}/stages/{gone.key}.json")
    assert here.cache.is_shared(gone.key)  # for all that it knows
    write_notice(here.files, BUCKET, "removed", [gone.key])
    keep(here)
    wait_until(lambda: not here.cache.is_shared(gone.key))
    assert here.cache.is_shared(kept.key) and (here.entry(kept) / SHARED).exists()
    assert here.read(here.cache.find(gone.key)) == {"x": b"gone"}  # the copy here is good
    here.cache.share(gone)
    assert here.cache.is_shared(gone.key) and f"{gone.key}.json" in stored(here)


def test_a_purge_removes_the_results_everywhere_but_what_another_task_has_recorded(
        here: Machine, keep: Keep, tmp_path: Path) -> None:
    there = Machine(tmp_path, "there")
    purged, other = (here.keep(name, {"x": name.encode(), "y": b"of both"}, share=True) for name in ("purged", "other"))
    for result in (purged, other):
        there.read(there.cache.find(result.key))
    record(tmp_path, other)
    for machine in (here, there):
        keep(machine)
    write_notice(here.files, BUCKET, "purge", [purged.key, other.key], ["task_1_1"])
    wait_until(lambda: not here.entry(purged).exists() and not there.entry(purged).exists())
    wait_until(lambda: stored(here) == objects(other))
    assert here.entry(other).exists() and there.entry(other).exists()
    third = Machine(tmp_path, "third")
    assert third.read(third.cache.find(other.key)) == {"x": b"other", "y": b"of both"}


def test_a_use_that_is_told_after_a_purge_saves_nothing(here: Machine, keep: Keep) -> None:
    """It was before."""
    result = here.keep("a", {"x": b"1"}, share=True)
    write_notice(here.files, BUCKET, "purge", [result.key], ["task_1_1"])
    here.files.touch(f"{BUCKET}/stages/{result.key}.json")
    keep(here)
    wait_until(lambda: stored(here) == set())


def test_a_copy_that_a_claim_holds_is_purged_when_the_claim_ends(here: Machine, keep: Keep) -> None:
    result = here.keep("a", {"x": b"1"}, share=True)
    hold = here.cache.hold(result.key)
    write_notice(here.files, BUCKET, "purge", [result.key], ["task_1_1"])
    keep(here)
    wait_until(lambda: stored(here) == set())
    assert here.read(result) == {"x": b"1"}
    hold.close()
    wait_until(lambda: not here.entry(result).exists())


def test_what_a_claim_finished_before_it_heard_of_the_purge_goes_too(here: Machine, keep: Keep) -> None:
    late, mine = (here.keep(name, {"x": name.encode()}, share=True) for name in ("late", "mine"))
    keep(here)
    here.cache.of_deleted.append(("task_2_2", [mine.key]))  # deleted without a purge
    here.cache.of_deleted.append(("task_1_1", [late.key]))
    write_notice(here.files, BUCKET, "purge", [], ["task_1_1"])
    wait_until(lambda: not here.entry(late).exists())
    wait_until(lambda: stored(here) == objects(mine))
    assert here.entry(mine).exists()


@pytest.mark.parametrize("away_s", [LIFE_S, 60.0])
def test_who_was_away_for_longer_than_notices_are_kept_trusts_no_copy(here: Machine, keep: Keep, away_s: float) -> None:
    result = here.keep("a", {"x": b"1"}, share=True)
    keep(here).close()
    os.utime(here.folder / "cache" / HEARD, (time.time() - away_s,) * 2)
    keep(here)
    assert here.entry(result).exists() == (away_s == 60.0)
    assert here.read(here.cache.find(result.key)) == {"x": b"1"}


def test_the_bucket_is_cleaned_and_the_stores_file_becomes_small_without_anybody_asking(
        here: Machine, keep: Keep, tmp_path: Path) -> None:
    results = [here.keep(f"r{number}", {"x": b"%d" % number}, share=True) for number in range(3)]
    store = open_store(tmp_path)
    record(tmp_path, results[0])
    running = make_task(status=Status.RUNNING, stages=[
        StageRecord(name="r1", key=results[1].key, output_digest="0" * 64, seconds=1.0, cached=False)])
    store.insert(running)
    ids = []
    for _ in range(100):
        task = make_task(parameters={"text": "x" * 40_000})
        store.insert(task)
        ids.append(task.id)
    for task_id in ids:
        store.delete(task_id)
    for info in here.files.find(f"{BUCKET}/"):
        assert info.modified_at
    keep(here, gc_every_s=0.2, cache_bucket_bytes=0, cache_grace_s=0.5)
    wait_until(lambda: stored(here) == objects(results[1]))
    wait_until(lambda: (tmp_path / "tasks.db").stat().st_size < 2 * KEPT_PAGES * 4096)
    assert store.get(running.id) == running


def test_an_outage_holds_nothing_up_for_ever(here: Machine, keep: Keep, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    result = here.keep("a", {"x": b"1"}, share=True)
    asked: list[str] = []

    def away(prefix: str) -> None:
        asked.append(prefix)
        raise Unavailable("files", "told to")

    monkeypatch.setattr(here.files, "find", away)
    keep(here)
    write_notice(here.files, BUCKET, "purge", [result.key], ["task_1_1"])
    wait_until(lambda: len(asked) > 2)
    assert here.entry(result).exists()
    monkeypatch.undo()
    wait_until(lambda: not here.entry(result).exists() and stored(here) == set())


def test_a_task_that_is_deleted_and_purged_while_it_runs_leaves_no_result(bench: Bench, tmp_path: Path) -> None:
    """The stage that runs when the task is deleted is recorded nowhere."""
    parameters, gate = bench.gated("verify")
    task = make_task(parameters=parameters)
    bench.store.insert(task)
    running = Running(bench, task)
    running.at("verify")
    wait_until(lambda: len(bench.store.get(task.id).stages) == 3)
    recorded = bench.store.delete(task.id).stages
    write_notice(bench.files, bench.settings.cache_bucket, "purge", {recorded[0].key}, [task.id])
    gate.touch()
    assert running.end() is None
    local = set((tmp_path / "cache").glob("??/*"))
    assert len(local) >= 3
    keeper = Housekeeper(bench.files, bench.store, bench.tools.cache, bench.settings)
    try:
        wait_until(lambda: not set((tmp_path / "cache").glob("??/*")))
        wait_until(lambda: not [info for below in ("stages/", "blobs/", "logs/")
                                for info in bench.files.find(f"{bench.settings.cache_bucket}/{below}")])
    finally:
        keeper.close()


@pytest.mark.parametrize("removed", [False, True])
def test_a_live_tasks_results_outlive_a_budget_of_nothing_and_what_is_lost_all_the_same_is_made_anew(
        bench: Bench, hosts: dict[str, ToolHost], tmp_path: Path, removed: bool) -> None:
    """Another machine goes on with the task. It finds what the first has recorded, or that somebody removed it."""
    parameters, gate = bench.gated("verify")
    task = bench.submit(parameters=parameters)
    running = Running(bench, task)
    running.at("verify")
    wait_until(lambda: len(bench.store.get(task.id).stages) == 3)
    nothing = bench.settings.model_copy(update={"cache_bucket_bytes": 0, "cache_life_s": 1e-9, "cache_grace_s": 1e-9})
    assert Collector(bench.files, bench.store, nothing).run().counts == {}
    assert bench.store.update(task.id, transitions.release("w1", 1))
    gate.touch()
    running.end()
    if removed:
        for info in list(bench.files.find(f"{bench.settings.cache_bucket}/")):
            bench.files.delete(info.path)
    there = Bench(tmp_path, hosts, cache_dir=tmp_path / "there")
    assert there.run(bench.store.get(task.id), "w2").status is Status.COMPLETED
    runs = there.runs()
    assert (runs["prepare"], runs["compile"]) == ((2, 2) if removed else (1, 1))


def test_old_tasks_go_by_themselves(here: Machine, tmp_path: Path, keep: Keep) -> None:
    old = make_task(status=Status.FAILED, created_at=1000.0, finished_at=2000.0)
    store = open_store(tmp_path)
    store.insert(old)
    young = record(tmp_path)
    keep(here, gc_every_s=0.05, task_life_s=3600.0)
    wait_until(lambda: store.get(old.id) is None)
    assert store.get(young)
