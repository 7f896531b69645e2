"""A claim holds the cache's entries that it needs: they are not evicted, and what is lost all the same is told."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import NotFound
from tests.integration.test_worker_cache import FILES_OF_A, Machine
from worker.cache import FILES
from worker.toolchains import ROOT


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path, "here")


def test_an_entry_that_a_claim_holds_is_passed_over_until_the_hold_ends(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "here", limit_bytes=1000)
    result, folder = machine.make("a", {"x": b"a" * 900})
    kept, hold = machine.cache.keep(result, folder)
    shutil.rmtree(folder)
    machine.keep("b", {"x": b"b" * 900})
    assert machine.read(kept) == {"x": b"a" * 900}
    again = machine.cache.hold(kept.key)  # a second claim that needs it
    hold.close()
    machine.keep("c", {"x": b"c" * 900})
    assert machine.entry(kept).exists() and again
    again.close()
    machine.keep("d", {"x": b"d" * 900})
    assert not machine.entry(kept).exists() and machine.cache.hold(kept.key) is None


HOLDER = """
import sys, time
from pathlib import Path
from shared.files.local import LocalFiles
from worker.cache import StageCache
cache = StageCache(Path(sys.argv[1]), 1000, LocalFiles(Path(sys.argv[1])), "cache")
hold = cache.hold(sys.argv[2])
print("held" if hold else "not there", flush=True)
time.sleep(600)
"""


def test_a_hold_counts_for_other_processes_and_ends_with_its_own(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "here", limit_bytes=1000)
    held = machine.keep("a", {"x": b"a" * 900})
    with subprocess.Popen([sys.executable, "-c", HOLDER, machine.folder / "cache", held.key], text=True,
                          stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}) as holder:
        assert holder.stdout.readline() == "held\n"
        machine.keep("b", {"x": b"b" * 900})
        assert machine.entry(held).exists()
        holder.kill()
    machine.keep("c", {"x": b"c" * 900})
    assert not machine.entry(held).exists()


def test_the_first_of_two_results_with_one_key_is_the_one_that_both_claims_have(here: Machine) -> None:
    first = here.keep("a", {"x": b"first"})
    other, folder = here.make("a", {"x": b"second"})
    kept, hold = here.cache.keep(other, folder)
    hold.close()
    assert kept == first and here.read(kept) == {"x": b"first"}


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_result_that_was_lost_before_it_was_shared_is_told(here: Machine, damage: str) -> None:
    result = here.keep("a", FILES_OF_A)
    if damage == "gone":
        shutil.rmtree(here.entry(result))
    else:
        path = next(path for path in (here.entry(result) / FILES).rglob("*") if path.is_file())
        path.chmod(0o644)
        path.write_bytes(b"")
    with pytest.raises(NotFound):
        here.cache.share(result)
    assert not here.cache.is_shared(result.key)
