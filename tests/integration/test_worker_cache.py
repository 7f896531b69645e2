"""The stage cache: found here or in the object store, whole or not at all, and healed where it is damaged."""
from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from shared.digests import canonical_digest
from shared.errors import NotFound, Unavailable
from shared.files.local import LocalFiles
from worker.cache import FILES, MANIFEST, SCRATCH_LIFE_S, StageCache
from worker.results import StageResult, describe_files, link_or_copy, place_files, seal

BUCKET = "cache"
BIG = 1 << 40


def make_key(name: str) -> str:
    return canonical_digest(name)


class Machine:
    """A machine's cache folder over the shared object store."""

    def __init__(self, folder: Path, name: str, limit_bytes: int = BIG) -> None:
        self.folder = folder / name
        self.files = LocalFiles(folder / "buckets")
        self.cache = StageCache(self.folder / "cache", limit_bytes, self.files, BUCKET)

    def make(self, name: str, files: dict[str, bytes], facts: dict | None = None) -> tuple[StageResult, Path]:
        """A finished stage's result and its files, as the runner has them."""
        folder = self.folder / "held" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        result = StageResult(make_key(name), name, describe_files(folder), facts or {}, 1.5, 1 << 20, {"tool": "1"})
        seal(result, folder)
        return result, folder

    def keep(self, name: str, files: dict[str, bytes], *, share: bool = False) -> StageResult:
        result, folder = self.make(name, files)
        kept, hold = self.cache.keep(result, folder)
        if share:
            self.cache.share(kept)
        hold.close()
        shutil.rmtree(folder)
        return kept

    def read(self, result: StageResult) -> dict[str, bytes]:
        target = self.folder / "placed"
        shutil.rmtree(target, ignore_errors=True)
        self.cache.place(result, target)
        return {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}

    def entry(self, result: StageResult) -> Path:
        return self.folder / "cache" / result.key[:2] / result.key


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "here")


@pytest.fixture
def there(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "there")


FILES_OF_A = {"model.xml": b"<net/>", "deep/weights.bin": b"\0" * 5000}


def test_a_kept_result_is_found_with_its_facts_and_files(here: Machine) -> None:
    result = here.keep("a", FILES_OF_A)
    found = here.cache.find(result.key)
    assert found == result
    assert here.read(found) == FILES_OF_A


def test_what_was_never_kept_is_not_found(here: Machine) -> None:
    assert here.cache.find(make_key("never")) is None


def test_a_shared_result_is_found_on_a_machine_with_an_empty_cache_and_kept_there(here: Machine,
                                                                                  there: Machine) -> None:
    result = here.keep("a", FILES_OF_A, share=True)
    found = there.cache.find(result.key)
    assert found == result
    assert there.read(found) == FILES_OF_A
    shutil.rmtree(here.folder.parent / "buckets")
    assert there.read(there.cache.find(result.key)) == FILES_OF_A
    assert there.cache.is_shared(result.key)


def test_a_result_that_was_only_kept_is_nobody_elses(here: Machine, there: Machine) -> None:
    result = here.keep("a", FILES_OF_A)
    assert there.cache.find(result.key) is None
    assert not here.cache.is_shared(result.key)


def test_a_result_without_files_is_found_and_placed(here: Machine, there: Machine) -> None:
    result = here.keep("empty", {}, share=True)
    assert there.read(there.cache.find(result.key)) == {}


def test_a_stage_may_have_a_file_of_any_name(here: Machine, there: Machine) -> None:
    files = {"manifest.json": b"mine", "shared": b"", "files": b"x", ".hidden": b"y"}
    result = here.keep("names", files, share=True)
    assert here.read(result) == there.read(there.cache.find(result.key)) == files


def test_equal_files_of_different_results_are_stored_once(here: Machine) -> None:
    here.keep("a", {"x": b"same"}, share=True)
    here.keep("b", {"y": b"same"}, share=True)
    assert len(list(here.files.find(f"{BUCKET}/blobs/"))) == 1
    assert len(list(here.files.find(f"{BUCKET}/stages/"))) == 2


def test_the_manifest_is_stored_after_every_file(here: Machine) -> None:
    stored: list[str] = []

    class Watched(LocalFiles):
        def upload(self, source, path, **options):
            stored.append(path.split("/")[1])
            return super().upload(source, path, **options)

    here.cache = StageCache(here.folder / "cache", BIG, Watched(here.folder.parent / "buckets"), BUCKET)
    here.keep("a", FILES_OF_A, share=True)
    assert stored == ["blobs", "blobs", "stages"]


def test_placed_files_outlive_the_eviction_of_their_entry(here: Machine) -> None:
    result = here.keep("a", FILES_OF_A)
    here.cache.place(result, here.folder / "in")
    shutil.rmtree(here.entry(result))
    assert (here.folder / "in/model.xml").read_bytes() == b"<net/>"


def test_the_digest_of_a_result_depends_on_files_and_facts_only(here: Machine) -> None:
    first, _ = here.make("a", FILES_OF_A, {"ops": 3})
    slower = StageResult(**{**asdict(first), "seconds": 99.0, "key": "other", "peak_memory_bytes": None})
    assert slower.output_digest == first.output_digest
    assert here.make("a", FILES_OF_A, {"ops": 4})[0].output_digest != first.output_digest
    assert here.make("a", FILES_OF_A | {"model.xml": b"<neT/>"}, {"ops": 3})[0].output_digest != first.output_digest


def test_links_and_pipes_are_no_part_of_a_result(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder-link").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    assert list(describe_files(tmp_path)) == ["real"]


def test_across_file_systems_files_are_copied(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm") / f"model-convert-test-{os.getpid()}"
    elsewhere.mkdir()
    try:
        machine = Machine(tmp_path, "here")
        machine.cache = StageCache(elsewhere / "cache", BIG, machine.files, BUCKET)
        result = machine.keep("a", FILES_OF_A)
        assert machine.read(result) == FILES_OF_A
    finally:
        shutil.rmtree(elsewhere)


# --- damage -----------------------------------------------------------------------------------------------------------


def part_from_the_object_store(path: Path) -> None:
    """On one disk the two are one file; elsewhere only one of them is harmed."""
    copy = path.with_suffix(".copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def cut(path: Path) -> None:
    os.truncate(path, 3)


def overwrite_in_place(path: Path) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"!")


@pytest.mark.parametrize("harm", [Path.unlink, cut, overwrite_in_place])
def test_a_damaged_local_file_is_fetched_again_from_the_object_store(here: Machine, harm) -> None:
    result = here.keep("a", FILES_OF_A, share=True)
    part_from_the_object_store(here.entry(result) / FILES / "model.xml")
    harm(here.entry(result) / FILES / "model.xml")
    assert here.read(result) == FILES_OF_A
    assert here.read(here.cache.find(result.key)) == FILES_OF_A


@pytest.mark.parametrize("harm", [cut, overwrite_in_place])
def test_damage_to_a_file_that_the_object_store_links_to_lets_the_stage_run_again(here: Machine, harm) -> None:
    result = here.keep("a", FILES_OF_A, share=True)
    harm(here.entry(result) / FILES / "model.xml")
    with pytest.raises(NotFound):
        here.read(result)
    assert here.cache.find(result.key) is None
    here.keep("a", FILES_OF_A, share=True)
    assert here.read(here.cache.find(result.key)) == FILES_OF_A


@pytest.mark.parametrize("harm", [Path.unlink, cut, overwrite_in_place])
def test_a_damaged_entry_that_is_nowhere_else_is_gone_and_can_be_kept_anew(here: Machine, harm) -> None:
    result = here.keep("a", FILES_OF_A)
    harm(here.entry(result) / FILES / "deep/weights.bin")
    with pytest.raises(NotFound):
        here.read(result)
    assert here.cache.find(result.key) is None
    here.keep("a", FILES_OF_A)
    assert here.read(here.cache.find(result.key)) == FILES_OF_A


def test_a_stage_that_writes_to_its_input_breaks_the_seal(here: Machine) -> None:
    result = here.keep("a", FILES_OF_A)
    here.cache.place(result, here.folder / "in")
    overwrite_in_place(here.folder / "in/model.xml")
    with pytest.raises(NotFound):
        here.read(result)


def test_files_held_by_a_task_are_checked_too(here: Machine) -> None:
    result, folder = here.make("a", FILES_OF_A)
    place_files(result, folder, here.folder / "in")
    cut(folder / "model.xml")
    with pytest.raises(NotFound):
        place_files(result, folder, here.folder / "again")


@pytest.mark.parametrize("text", ["", "{", "[]", "{\"key\": 1}", "null"])
def test_a_manifest_that_is_none_is_as_if_it_were_not_there(here: Machine, text: str) -> None:
    result = here.keep("a", FILES_OF_A)
    (here.entry(result) / MANIFEST).write_text(text)
    assert here.cache.find(result.key) is None
    assert not here.entry(result).exists()


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_a_manifest_that_names_files_outside_of_its_entry_is_refused(here: Machine, there: Machine, name: str) -> None:
    result = here.keep("a", {"x": b"1"}, share=True)
    forged = asdict(result) | {"files": {name: result.files["x"]}}
    source = here.folder / "forged"
    source.write_text(json.dumps(forged))
    here.files.upload(source, f"{BUCKET}/stages/{result.key}.json")
    assert there.cache.find(result.key) is None


@pytest.mark.parametrize("harm", ["missing", "cut", "longer", "other"])
def test_a_damaged_blob_is_healed_by_the_stages_next_run(here: Machine, there: Machine, harm: str) -> None:
    result = here.keep("a", FILES_OF_A, share=True)
    blob = f"{BUCKET}/blobs/{result.files['model.xml']['sha256']}"
    source = here.folder / "blob"
    source.write_bytes({"cut": b"<", "longer": b"<net/>!", "other": b"<NET/>"}.get(harm, b""))
    here.files.delete(blob) if harm == "missing" else here.files.upload(source, blob)
    with pytest.raises(NotFound):
        there.read(there.cache.find(result.key))
    assert there.cache.find(result.key) is None  # so the stage runs again
    there.keep("a", FILES_OF_A, share=True)
    third = Machine(here.folder.parent, "third")
    assert third.read(third.cache.find(result.key)) == FILES_OF_A


def test_a_result_of_another_run_replaces_a_lost_one(here: Machine, there: Machine) -> None:
    """A stage that is not bit for bit the same each time: the lost first result must not bar the second."""
    lost = here.keep("a", {"x": b"first"}, share=True)
    here.files.delete(f"{BUCKET}/blobs/{lost.files['x']['sha256']}")
    with pytest.raises(NotFound):
        there.read(there.cache.find(lost.key))
    there.keep("a", {"x": b"second"}, share=True)
    third = Machine(here.folder.parent, "third")
    assert third.read(third.cache.find(lost.key)) == {"x": b"second"}


def test_an_object_store_that_is_away_is_not_taken_for_a_miss(here: Machine) -> None:
    class Away(LocalFiles):
        def download(self, *args, **options):
            raise Unavailable("files", "told to")

    here.cache = StageCache(here.folder / "cache", BIG, Away(here.folder.parent / "buckets"), BUCKET)
    with pytest.raises(Unavailable):
        here.cache.find(make_key("a"))
    assert list((here.folder / "cache/tmp").iterdir()) == []


# --- eviction ---------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_entries_go_first(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "here", limit_bytes=5000)
    old = [machine.keep(name, {"x": name.encode() * 1000}) for name in "abc"]
    for age, result in zip((300, 200, 100), old, strict=True):
        os.utime(machine.entry(result) / MANIFEST, (time.time() - age, time.time() - age))
    assert machine.cache.find(old[0].key) is not None  # used just now
    machine.keep("d", {"x": b"d" * 3000})
    kept = [name for name in "abcd" if (machine.folder / "cache" / make_key(name)[:2] / make_key(name)).exists()]
    assert kept == ["a", "d"]


def test_a_cache_of_no_size_keeps_nothing_and_still_shares(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "here", limit_bytes=0)
    result, folder = machine.make("a", FILES_OF_A)
    kept, hold = machine.cache.keep(result, folder)
    machine.cache.share(kept)
    hold.close()
    machine.cache.trim()
    assert not machine.entry(result).exists()
    assert machine.read(machine.cache.find(result.key)) == FILES_OF_A


def test_what_a_killed_worker_left_is_removed_after_a_day(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "here")
    for name, age in (("old", SCRATCH_LIFE_S + 60), ("new", 60)):
        (machine.folder / "cache/tmp" / name).mkdir()
        os.utime(machine.folder / "cache/tmp" / name, (time.time() - age, time.time() - age))
    machine.keep("a", FILES_OF_A)
    assert [path.name for path in (machine.folder / "cache/tmp").iterdir()] == ["new"]


# --- races ------------------------------------------------------------------------------------------------------------


def churn(folder: Path, seed: int, rounds: int, failures: multiprocessing.Queue) -> None:
    """One worker on a cache folder that is far too small for what all of them keep, place and share in it."""
    machine = Machine(folder, "here", limit_bytes=20_000)
    machine.folder = folder / f"worker-{seed}"
    try:
        for number in range(rounds):
            name = f"n{(number * 7 + seed * 3) % 12}"
            expected = {"x": name.encode() * 1000, "sub/y": name.encode()}
            found = machine.cache.find(make_key(name))
            if found is None:
                result, held = machine.make(name, expected)
                kept, hold = machine.cache.keep(result, held)
                machine.cache.share(kept)
                hold.close()
                found = machine.cache.find(make_key(name))
            if machine.read(found) != expected:
                raise AssertionError(f"{name} is not what was kept")
    except BaseException as error:
        failures.put(repr(error))
        raise


def test_workers_on_one_folder_keep_place_and_evict_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    workers = [context.Process(target=churn, args=(tmp_path, seed, 60, failures)) for seed in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(240)
    assert [worker.exitcode for worker in workers] == [0, 0, 0], failures.get(timeout=10)
    assert list((tmp_path / "here/cache/tmp").iterdir()) == []
    entries = list((tmp_path / "here/cache").glob(f"??/*/{MANIFEST}"))
    assert sum(path.stat().st_size for entry in entries for path in (entry.parent / FILES).rglob("*")
               if path.is_file()) <= 40_000


def test_threads_that_keep_the_same_key_leave_one_whole_entry(here: Machine) -> None:
    prepared = [here.make("a", FILES_OF_A)[0]]
    folders = []
    for number in range(8):
        folder = here.folder / f"copy-{number}"
        shutil.copytree(here.folder / "held/a", folder)
        folders.append(folder)
    threads = [threading.Thread(target=here.cache.keep, args=(prepared[0], folder)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert here.read(here.cache.find(prepared[0].key)) == FILES_OF_A


def test_a_link_where_there_can_be_none_is_a_copy(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    target = Path("/dev/shm") / f"model-convert-copy-{os.getpid()}"
    try:
        link_or_copy(source, target)
        assert target.read_bytes() == b"x"
    finally:
        target.unlink()
