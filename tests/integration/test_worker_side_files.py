"""Objects that parameters name, through a worker: which versions go into the key, and what cannot be a set."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared import transitions
from shared.documents import Status, Task
from shared.errors import ConversionFailed
from shared.files import FileInfo
from shared.files.local import LocalFiles
from tests.fixtures.calibration import npy, zipped
from tests.integration.worker_kit import TARGET, TOY, Bench
from tests.models import pair
from worker.context import InputChanged
from worker.lease import Lease
from worker.plan import Plan, Stage
from worker.process import ToolHost
from worker.runner import TaskRunner
from worker.stages import common, side_files

_ENTRY = "tests.integration.toy_stages:"
PLAN = Plan(TARGET.name, TOY, (
    common.FETCH, common.INSPECT, common.OPTIMIZE, *common.CALIBRATION, common.REFERENCE,
    Stage("prepare", _ENTRY + "prepare", TOY.name, inputs=("fetch", "calibration"), parameters=("counter",)),
    Stage("compile", _ENTRY + "compile_model", TOY.name, inputs=("prepare",), parameters=("counter", "suffixes")),
    common.PUBLISH,
))
SET = {f"{name}/{number}.npy": npy(np.full(4, number + len(name))) for name in ("a", "b") for number in range(3)}


class CalibratedBench(Bench):
    def run_lease(self, lease: Lease) -> None:
        TaskRunner(self.tools, PLAN, lease, self.folder / "work" / f"{lease.task.id}-{lease.epoch}").run()

    def convert(self, calibration: str, *, may_fail: bool = False, **parameters: Any) -> Task:
        task = self.run(self.submit(parameters=self.parameters(
            precision="int8", calibration=calibration, channel_order="rgb", auto_input_shape=True,
            verify={"enabled": True, "samples": 1, "min_cosine": None}, **parameters)))
        assert task and (may_fail or task.status is Status.COMPLETED), task and task.error
        return task

    def put(self, prefix: str, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            self.upload(f"{prefix}/{name}", data)


@pytest.fixture
def bench(tmp_path: Path, hosts: dict[str, ToolHost]) -> CalibratedBench:
    bench = CalibratedBench(tmp_path, hosts)
    bench.upload("in/model.onnx", pair([1, 4], [1, 4]).SerializeToString())
    return bench


def computed(task: Task) -> set[str]:
    return {record.name for record in task.stages if not record.cached}


def digests(task: Task) -> dict[str, str]:
    return {record.name: record.output_digest for record in task.stages}


def test_a_prefix_and_a_zip_of_it_are_the_same_set(bench: CalibratedBench) -> None:
    bench.put("models/校准 set", SET)
    bench.upload("models/set.zip", zipped({f"folder/{name}": data for name, data in SET.items()}))
    prefix, packed = bench.convert("models/校准 set"), bench.convert("models/set.zip")
    assert digests(prefix)["calibration_files"] != digests(packed)["calibration_files"]
    assert digests(prefix)["calibration"] == digests(packed)["calibration"]
    assert computed(packed) == {"calibration_files", "calibration", "publish"}


def test_what_is_unchanged_is_not_read_again_and_what_changed_is(bench: CalibratedBench) -> None:
    bench.put("models/set", SET)
    first = bench.convert("models/set")
    assert computed(bench.convert("models/set")) == {"publish"}
    bench.upload("models/set/a/1.npy", npy(np.full(4, 77)))
    changed = bench.convert("models/set")
    assert computed(changed) >= {"calibration_files", "calibration", "reference", "prepare", "publish"}
    assert digests(changed)["calibration"] != digests(first)["calibration"]
    bench.upload("models/set/a/1.npy", SET["a/1.npy"])  # another object with the first one's content
    again = bench.convert("models/set")
    assert digests(again)["calibration"] == digests(first)["calibration"]
    assert computed(again) <= {"calibration_files", "publish"}


def test_the_same_set_at_another_place_is_downloaded_and_nothing_else_runs_again(bench: CalibratedBench) -> None:
    bench.put("models/set", SET)
    bench.put("other/bucket/deep", SET)
    bench.convert("models/set")
    assert computed(bench.convert("other/bucket/deep")) == {"calibration_files", "publish"}


def test_a_parameter_that_the_stage_does_not_read_changes_no_key(bench: CalibratedBench) -> None:
    bench.put("models/set", SET)
    bench.convert("models/set")
    assert computed(bench.convert("models/set", mean=None, limits={"stage_time_s": 600.0})) == {"publish"}


def test_a_set_that_is_taken_whatever_comes_of_it_is_read_again_and_nothing_else_runs_again(
        bench: CalibratedBench) -> None:
    bench.put("models/set", SET)
    bench.convert("models/set")
    assert computed(bench.convert("models/set", accept_accuracy=True)) == {"calibration", "publish"}


def test_an_object_is_itself_and_not_what_lies_below_its_name_elsewhere(bench: CalibratedBench) -> None:
    bench.upload("models/set.zip", zipped(SET))
    bench.put("models/set.zip.d", {"a/9.npy": b"no array"})
    bench.put("models/set.zipped", {"a/9.npy": b"no array"})
    bench.convert("models/set.zip")


@pytest.mark.parametrize(("files", "code", "says"), [
    ({}, "input_not_found", "no object models/set, and none below it"),
    ({**SET, "a/1.npy": b"1 2 3"}, "calibration_invalid", "a/1.npy: it is no .npy file"),
    ({**SET, "b/2.npy": npy(np.zeros((1, 5)))}, "calibration_invalid", "b/2.npy: its shape is [1, 5]"),
    ({**SET, "a/0.npy": npy(np.array([{}], dtype=object))}, "calibration_invalid", "a/0.npy: it holds Python objects"),
    ({name: data for name, data in SET.items() if name != "b/1.npy"}, "calibration_invalid", "no file for the sample"),
    ({**SET, "dataset.txt": b"a/0.npy b/0.npy\na/0.npy b/7.npy"}, "calibration_invalid", "line 2 names 'b/7.npy'")],
    ids=range(6))
def test_a_set_that_cannot_be_used_fails_the_task_before_a_tool_sees_it(
        bench: CalibratedBench, files: dict[str, bytes], code: str, says: str) -> None:
    bench.put("models/set", files)
    task = bench.convert("models/set", may_fail=True)
    assert (task.status, task.error.code) == (Status.FAILED, code)
    assert says in task.error.message and task.error.hint
    assert bench.runs() == Counter()  # of the toolchain's stages


def test_a_retry_goes_on_with_the_set_as_it_was_read_and_the_hint_says_so(bench: CalibratedBench) -> None:
    bench.put("models/set", {**SET, "a/1.npy": b"damaged"})
    failed = bench.convert("models/set", may_fail=True)
    assert "send a new task" in failed.error.hint
    bench.upload("models/set/a/1.npy", SET["a/1.npy"])
    assert bench.store.update(failed.id, transitions.retry())
    assert bench.run(bench.store.get(failed.id)).error.code == "calibration_invalid"
    assert computed(bench.convert("models/set")) >= {"calibration_files", "calibration"}


# --- the stage by itself ----------------------------------------------------------------------------------------------


class StandInListing(LocalFiles):
    """Lists objects as an S3 store may have them, and no folder can: `names` below the bucket `models`."""

    def __init__(self, root: Path, names: list[str]) -> None:
        super().__init__(root)
        self.names = names

    def stat(self, path: str) -> FileInfo | None:
        return None

    def find(self, prefix: str) -> Iterator[FileInfo]:
        return (FileInfo(f"models/{name}", 1, "e") for name in self.names if f"models/{name}".startswith(prefix))


def versions(files: LocalFiles, path: str | None = "models/set") -> dict[str, dict[str, str]]:
    return side_files.versions(files, {"calibration": path, "other": None})


@pytest.mark.parametrize("name", ["set/../../etc/passwd", "set//etc/passwd", "set/./a", "set/a//b", "set/" + "x" * 256,
                                  "set/new\nline", "set/nul\0", "set/\udcff"])
def test_a_name_that_leads_elsewhere_or_nowhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConversionFailed) as caught:
        versions(StandInListing(tmp_path, ["set/good", name]))
    assert caught.value.code == "object_name_invalid" and caught.value.hint


@pytest.mark.parametrize("names", [["set/a", "set/a/b"], ["set/a/b", "set/a"], ["set/a", "set/a/b/c/d"]])
def test_an_object_that_is_a_folder_of_another_is_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ConversionFailed, match="cannot be a file: 'a'"):
        versions(StandInListing(tmp_path, names))


def test_empty_objects_that_stand_for_folders_do_not_count(tmp_path: Path) -> None:
    listing = StandInListing(tmp_path, ["set/", "set/a/", "set/a/0.npy"])
    assert versions(listing) == {"calibration": {"models/set/a/0.npy": "e"}}
    with pytest.raises(ConversionFailed, match="none below it"):
        versions(StandInListing(tmp_path, ["set/", "set/a/"]))
    most = [f"set/{number}" for number in range(side_files.MAX_FILES)]
    assert len(versions(StandInListing(tmp_path, [*most, "set/"]))["calibration"]) == side_files.MAX_FILES


def test_ten_thousand_and_one_objects_are_refused(tmp_path: Path) -> None:
    (tmp_path / "models" / "set").mkdir(parents=True)
    for number in range(10_001):
        (tmp_path / "models" / "set" / str(number)).touch()
    with pytest.raises(ConversionFailed, match="more than 10000 objects") as caught:
        versions(LocalFiles(tmp_path))
    assert caught.value.code == "too_many_files"
    (tmp_path / "models" / "set" / "10000").unlink()
    assert len(versions(LocalFiles(tmp_path))["calibration"]) == 10_000


def test_neighbours_of_a_prefix_are_not_below_it(bench: Bench) -> None:
    bench.upload("models/set/0", b"x")
    bench.upload("models/set2/0", b"x")
    bench.upload("models/settle", b"x")
    assert list(versions(bench.files)["calibration"]) == ["models/set/0"]


@pytest.fixture
def download(bench: Bench, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The stage on `models/set`, for the versions that `origin` names; its files come to `tmp_path / "out"`."""
    def run(origin: dict[str, dict[str, str]], *, limit_bytes: int = 1 << 20, parameters: Any = None) -> dict[str, Any]:
        (tmp_path / "out").mkdir(exist_ok=True)
        return side_files.run(SimpleNamespace(
            files=bench.files, output_dir=tmp_path / "out", origin=origin, report=lambda percent, text: None,
            parameters=parameters or {"calibration": "models/set"}, digests={},
            settings=SimpleNamespace(max_model_bytes=limit_bytes)))

    return run


def test_files_keep_their_names_below_the_parameters(bench: Bench, download: Callable[..., Any],
                                                     tmp_path: Path) -> None:
    bench.upload("models/set/a/图 1.npy", b"one")
    bench.upload("models/op.cfg", b"two")
    parameters = {"calibration": "models/set", "config": "models/op.cfg", "none": None}
    facts = download(side_files.versions(bench.files, parameters), parameters=parameters)
    assert facts == {"calibration": ["a/图 1.npy"], "config": ["op.cfg"]}
    assert (tmp_path / "out/calibration/a/图 1.npy").read_bytes() == b"one"
    assert (tmp_path / "out/config/op.cfg").read_bytes() == b"two"


@pytest.mark.parametrize("what", ["written", "removed"])
def test_a_set_that_changes_while_it_is_downloaded_is_looked_at_again(bench: Bench, download: Callable[..., Any],
                                                                      what: str) -> None:
    for number in range(20):
        bench.upload(f"models/set/{number}", b"x")
    origin = versions(bench.files)
    if what == "written":
        bench.upload("models/set/7", b"y")
    else:
        bench.files.delete("models/set/7")
    with pytest.raises(InputChanged, match="models/set/7 was"):
        download(origin)


def test_a_task_whose_set_changes_under_its_feet_takes_the_new_one(bench: CalibratedBench,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    bench.put("models/set", SET)
    find, seen = side_files._find, []

    def find_then_change(*args: Any) -> list[FileInfo]:
        found = find(*args)
        if not seen:
            bench.upload("models/set/a/0.npy", npy(np.full(4, 55)))
        seen.append(1)
        return found

    monkeypatch.setattr(side_files, "_find", find_then_change)
    task = bench.convert("models/set")
    entry = next(record for record in task.stages if record.name == "calibration")
    facts = bench.tools.cache.find(entry.key).facts
    assert facts["ranges"]["a"][1] == 55 and len(seen) == 2


@pytest.mark.parametrize("sizes", [[60, 60], [150], [30] * 4, [1] * 101])
def test_more_bytes_than_are_allowed_are_refused(bench: Bench, download: Callable[..., Any], sizes: list[int]) -> None:
    for number, size in enumerate(sizes):
        bench.upload(f"models/set/{number}", b"x" * size)
    with pytest.raises(ConversionFailed) as caught:
        download(versions(bench.files), limit_bytes=100)
    assert caught.value.code == "input_too_large" and "MAX_MODEL_BYTES" in caught.value.hint
    assert download(versions(bench.files), limit_bytes=sum(sizes))["calibration"]


def test_a_missing_set_is_told_of_the_stage_that_looked_for_it(bench: CalibratedBench) -> None:
    assert bench.convert("models/none", may_fail=True).error.stage == "calibration_files"
