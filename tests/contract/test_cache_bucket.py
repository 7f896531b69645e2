"""What goes from the cache bucket, and what stays: over a folder and a real MinIO alike."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from shared.cached import blobs, manifest_path, manifests
from shared.cached.collector import Collector
from shared.cached.notices import find_notices, write_notice
from shared.cached.turns import Turns
from shared.documents import Status
from shared.errors import Unavailable
from shared.task_logs import log_path
from worker.cache import StageCache
from worker.results import StageResult

if TYPE_CHECKING:
    from tests.contract.cache_bucket import Bucket

pytest_plugins = ["tests.contract.cache_bucket"]

DAY_S = 86400.0


# --- by last use ------------------------------------------------------------------------------------------------------


def test_what_nobody_used_for_long_goes_with_its_files_and_what_is_in_use_stays(here: Bucket) -> None:
    here.share("old", 31 * DAY_S, a=b"only old", b=b"both")
    new = here.share("new", 29 * DAY_S, a=b"only new", b=b"both")
    here.age(31 * DAY_S, *here.paths("blobs/"))
    report = here.clean()
    assert here.keys() == ["new"] and len(here.paths("blobs/")) == 2
    assert here.read(new) == {"a": b"only new", "b": b"both"}
    assert report.counts == {"results that were not used for long": 1, "files of results": 1}
    assert report.sizes["files of results"] == len(b"only old")


def test_a_result_that_a_worker_has_found_is_in_use(here: Bucket) -> None:
    for key in ("local", "remote"):
        here.share(key, 31 * DAY_S, a=key.encode())
    shared = here.cache._entry("local") / "shared"
    there = StageCache(here.folder / "there", 1 << 40, here.files, here.bucket)
    assert here.cache.find("local") and there.find("remote")
    here.cache.tell_uses()  # it was told when it was shared, just now
    there.tell_uses()
    assert set(here.files.ages) == {manifest_path(here.bucket, "local"), *here.paths("blobs/")}
    os.utime(shared, (1, 1))
    again = StageCache(here.folder / "cache", 1 << 40, here.files, here.bucket)  # the next worker on this machine
    again.find("local")
    again.tell_uses()
    assert set(here.files.ages) == set(here.paths("blobs/"))
    here.clean()
    assert here.keys() == ["local", "remote"]


def test_above_the_budget_those_go_first_that_were_not_used_for_longest_until_the_rest_fits(here: Bucket) -> None:
    for day, key in enumerate("abcd", 1):
        here.share(key, (9 - day) * DAY_S, a=key.encode() * 10_000, same=b"s" * 10_000)
    report = here.clean(cache_bucket_bytes=35_000)
    assert here.keys() == ["c", "d"] and len(here.paths("blobs/")) == 3
    assert report.counts["results above the budget"] == 2
    stored = sum(info.size_bytes for prefix in (manifests(here.bucket), blobs(here.bucket))
                 for info in here.files.find(prefix))
    assert stored <= report.kept_bytes <= 35_000
    here.clean(cache_bucket_bytes=0)
    assert here.keys() == [] and here.paths("blobs/") == []


def test_what_was_stored_or_used_lately_stays_whatever_the_budget(here: Bucket) -> None:
    here.share("new", 0, a=b"1")
    here.share("hour", 3601, a=b"2")
    here.clean(cache_bucket_bytes=0)
    assert here.keys() == ["new"]


# --- what may be needed -----------------------------------------------------------------------------------------------


def test_what_live_tasks_have_recorded_stays_and_what_ended_ones_have_goes(here: Bucket) -> None:
    for key in ("pending", "running", "paused", "completed", "failed"):
        here.share(key, 99 * DAY_S, a=key.encode())
        here.task(Status(key), key, "elsewhere")
    here.share("small", DAY_S, a=b"the newest, and nobody's")
    here.clean(cache_bucket_bytes=0)
    assert here.keys() == ["paused", "pending", "running"]
    assert len(here.paths("blobs/")) == 3


def test_what_live_tasks_need_does_not_count_as_room_to_be_made(here: Bucket) -> None:
    here.share("needed", 9 * DAY_S, a=b"n" * 20_000)
    here.task(Status.PAUSED, "needed")
    for day, key in enumerate("abc", 1):
        here.share(key, (9 - day) * DAY_S, a=key.encode() * 10_000)
    here.clean(cache_bucket_bytes=35_000)
    assert here.keys() == ["c", "needed"]


def test_what_a_task_records_during_the_pass_stays(here: Bucket) -> None:
    here.share("used", 99 * DAY_S, a=b"1")
    here.share("unused", 99 * DAY_S, a=b"2")

    class Racing:
        """The task comes after the first look at the records."""
        looks = 0

        def stage_keys(self, **narrow: Any) -> set[str]:
            self.looks += 1
            if self.looks == 2:
                here.task(Status.RUNNING, "used")
            return here.store.stage_keys(**narrow)

        def __getattr__(self, name: str) -> Any:
            return getattr(here.store, name)

    here.clean(store=Racing())
    assert here.keys() == ["used"] and len(here.paths("blobs/")) == 1


def test_what_a_worker_uses_during_the_pass_stays(here: Bucket) -> None:
    result = here.share("used", 99 * DAY_S, a=b"1")
    here.share("unused", 99 * DAY_S, a=b"2")
    here.files.on_upload = lambda path: "/notices/" in path and here.files.touch(manifest_path(here.bucket, "used"))
    here.clean()
    assert here.keys() == ["used"] and here.read(result) == {"a": b"1"}


def test_a_blob_that_a_result_takes_up_during_the_pass_stays(here: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new result is shared after the manifests were listed."""
    monkeypatch.setattr("worker.cache.SMALL_BYTES", 0)
    here.share("old", 99 * DAY_S, a=b"both", b=b"only old")
    made: list[StageResult] = []

    def share(path: str) -> None:
        if "/notices/" in path:
            here.files.on_upload = lambda path: None
            made.append(here.share("new", 0, a=b"both"))
            here.age(99 * DAY_S, *here.paths("blobs/"))

    here.files.on_upload = share
    here.clean()
    assert here.keys() == ["new"] and here.read(made[0]) == {"a": b"both"}


@pytest.mark.parametrize("small_bytes", [0, 1 << 20])
def test_whoever_shares_a_blob_that_is_there_makes_it_new(here: Bucket, monkeypatch: pytest.MonkeyPatch,
                                                          small_bytes: int) -> None:
    """Before its manifest is there, nothing else would keep it."""
    monkeypatch.setattr("worker.cache.SMALL_BYTES", small_bytes)
    path = here.orphan(b"half", 99 * DAY_S)
    seen: list[float] = []
    here.files.on_upload = lambda name: "/stages/" in name and seen.append(here.files.ages.get(path, 0.0))
    here.share("new", 0, a=b"half")
    assert seen == [0.0]


def test_what_a_killed_worker_has_stored_half_goes_after_a_while(here: Bucket) -> None:
    here.orphan(b"a killed worker's", 3602)
    kept = here.orphan(b"a working one's", 3000)
    assert here.clean().counts == {"files of results": 1}
    assert here.paths("blobs/") == [kept]


def test_without_the_store_nothing_goes(here: Bucket) -> None:
    class Away:
        def stage_keys(self, **_narrow: Any) -> set[str]:
            raise Unavailable("store", "told to")

    here.share("old", 99 * DAY_S, a=b"1")
    here.orphan(b"orphan", 99 * DAY_S)
    before = here.paths("blobs/")
    with pytest.raises(Unavailable):
        here.clean(store=Away())
    assert here.keys() == ["old"] and here.paths("blobs/") == before


def test_a_manifest_that_cannot_be_read_goes_with_the_others(here: Bucket) -> None:
    for name, content in (("a", b"{"), ("b", b"[]"), ("c", b'{"files": {"x": {}}}'), ("d", b"\xff")):
        here.put(manifest_path(here.bucket, name), content, 31 * DAY_S)
    here.clean()
    assert here.keys() == []


# --- purges -----------------------------------------------------------------------------------------------------------


def test_what_a_client_wants_gone_goes_at_once_unless_another_task_has_recorded_it(here: Bucket) -> None:
    for key in ("purged", "completed", "running"):
        here.share(key, a=key.encode(), same=b"of all")
    here.task(Status.COMPLETED, "completed")
    here.task(Status.RUNNING, "running")
    write_notice(here.files, here.bucket, "purge", ["purged", "completed", "running", "unknown"], ["task_1_1"])
    assert here.clean().counts == {"purged results": 1, "files of results": 1}
    assert here.keys() == ["completed", "running"] and len(here.paths("blobs/")) == 3


@pytest.mark.parametrize("small_bytes", [0, 1 << 20])
def test_a_result_that_takes_up_a_blob_while_it_is_purged_is_whole(here: Bucket, monkeypatch: pytest.MonkeyPatch,
                                                                   small_bytes: int) -> None:
    """The blob goes after the new result has found it, and before its manifest is there."""
    monkeypatch.setattr("worker.cache.SMALL_BYTES", small_bytes)
    here.share("purged", a=b"of both")
    write_notice(here.files, here.bucket, "purge", ["purged"], ["task_1_1"])

    def purge(path: str) -> None:
        if path == manifest_path(here.bucket, "new"):
            here.files.on_upload = lambda path: None
            here.clean()
            assert here.paths("blobs/") == []

    here.files.on_upload = purge
    result = here.share("new", a=b"of both")
    assert here.keys() == ["new"] and here.read(result) == {"a": b"of both"}


def test_what_is_made_after_a_purge_stays(here: Bucket) -> None:
    write_notice(here.files, here.bucket, "purge", ["again"], ["task_1_1"])
    here.age(90, *(info.path for info in find_notices(here.files, here.bucket)))
    result = here.share("again", a=b"1")
    here.clean()
    assert here.read(result) == {"a": b"1"}


def test_notices_go_after_a_day(here: Bucket) -> None:
    for age_s in (25 * 3600.0, 23 * 3600.0):
        known = {info.path for info in find_notices(here.files, here.bucket)}
        write_notice(here.files, here.bucket, "removed", ["a"])
        here.age(age_s, *({info.path for info in find_notices(here.files, here.bucket)} - known))
    assert here.clean().counts == {"notices": 1}
    assert len(list(find_notices(here.files, here.bucket))) == 1


# --- logs -------------------------------------------------------------------------------------------------------------


def test_logs_go_with_their_tasks_and_when_they_are_old(here: Bucket) -> None:
    ages = {"running": 99, "completed": 99, "failed": 3}
    tasks = {status: here.task(Status(status)) for status in ages} | {"gone": "task_1_1", "just gone": "task_2_2"}
    ages |= {"gone": 1, "just gone": 0}
    paths = {name: here.put(log_path(here.settings(), task_id, "compile"), b"log", ages[name] * DAY_S)
             for name, task_id in tasks.items()}
    assert here.clean().counts == {"logs": 2}
    assert sorted(here.paths("logs/")) == sorted(paths[name] for name in ("running", "failed", "just gone"))


# --- the pass itself --------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_what_a_pass_removes_and_removes_nothing(here: Bucket) -> None:
    here.share("old", 31 * DAY_S, a=b"only old", same=b"both")
    here.share("new", DAY_S, a=b"only new", same=b"both")
    here.share("needed", 99 * DAY_S, a=b"needed")
    here.task(Status.PAUSED, "needed")
    here.orphan(b"orphan", 2 * DAY_S)
    here.put(log_path(here.settings(), "task_1_1", "compile"), b"log", DAY_S)
    before = here.paths("stages/") + here.paths("blobs/") + here.paths("logs/")
    told = here.clean(dry_run=True, cache_bucket_bytes=10)
    assert here.paths("stages/") + here.paths("blobs/") + here.paths("logs/") == before
    assert here.paths("notices/") == []
    done = here.clean(cache_bucket_bytes=10)
    assert (told.counts, told.sizes) == (done.counts, done.sizes)
    assert done.counts == {"results that were not used for long": 1, "results above the budget": 1,
                           "files of results": 4, "logs": 1}
    assert here.keys() == ["needed"] and len(here.paths("blobs/")) == 1


def test_a_manifest_is_read_once(here: Bucket) -> None:
    for number in range(5):
        here.share(f"r{number}", DAY_S, a=b"%d" % number)
    collector = Collector(here.files, here.store, here.settings())
    collector.run()
    assert len(here.files.read) == 5
    here.share("another", DAY_S, a=b"x")
    here.files.touch(manifest_path(here.bucket, "r1"))
    collector.run()
    assert here.files.read[5:] == [manifest_path(here.bucket, "another")]


def test_a_pass_that_is_broken_off_is_gone_on_with_by_the_next(here: Bucket) -> None:
    for number in range(5):
        here.share(f"r{number}", 31 * DAY_S, a=b"%d" % number)
    left = 10

    def pause() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Collector(here.files, here.store, here.settings(), pause=pause).run()
    assert 0 < len(here.keys()) < 5
    here.clean(cache_grace_s=1.0)
    assert here.keys() == [] and here.paths("blobs/") == []


# --- turns ------------------------------------------------------------------------------------------------------------


def test_of_several_workers_one_has_the_turn_and_the_next_when_it_is_over(here: Bucket) -> None:
    now = [0.0]
    workers = [Turns(here.files, here.bucket, 60.0, clock=lambda: now[0]) for _ in range(3)]

    def taken() -> int:
        return sum(worker.take() for worker in workers)

    assert taken() == 1
    turns = 0
    for _ in range(30):
        now[0] += 10.0
        turns += taken()
    assert 4 <= turns <= 5


def test_a_turn_is_taken_at_once_where_a_client_waits_for_it_and_only_once(here: Bucket) -> None:
    workers = [Turns(here.files, here.bucket, 1e9) for _ in range(2)]
    assert [worker.take() for worker in workers] == [True, False]
    at = here.files.stat(f"{here.bucket}/housekeeping/turn.json").modified_at
    here.files.ages.clear()
    assert [worker.take(since=at - 60) for worker in workers] == [False, False]
    here.age(120, f"{here.bucket}/housekeeping/turn.json")
    assert [worker.take(since=at - 60) for worker in workers] == [True, False]
