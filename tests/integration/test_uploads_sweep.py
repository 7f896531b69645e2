"""The sweep: what no event told of is found, what was dealt with costs nothing, and nothing comes back."""
from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.api.deletion import delete_tasks
from shared.deps import close_all, get_files, get_store
from shared.documents import StoredFailure, TaskResult
from shared.errors import Damaged, Unavailable
from shared.files.minio import MinioFiles
from shared.settings import get_settings
from shared.triggers import companions, tombstones
from tests.integration.toy_models import model_with_data_beside_it
from worker.tags import tag_ended

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from shared.triggers.objects import StoredObject, Taken
    from shared.triggers.starting import Wanted
    from tests.integration.uploads_kit import Uploads

pytest_plugins = ["tests.integration.uploads_kit"]


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the objects that the sweep has looked at by more than the listing."""
    from shared.triggers import taking

    keys: list[str] = []
    look = taking._look_by_rules
    monkeypatch.setattr(taking, "_look_by_rules", lambda found: keys.append(found.key) or look(found))
    return keys


def test_uploads_that_no_event_told_of_are_found_once(uploads: Uploads) -> None:
    keys = [uploads.put(f"intel/{number}.onnx") for number in range(5)]
    uploads.put("intel/readme.txt")
    assert sorted(uploads.sweep()) == keys
    assert uploads.sweep(2) == [] and len(uploads.tasks()) == 5


def test_old_objects_cost_the_listing_alone_also_after_a_restart(uploads: Uploads, looked_at: list[str]) -> None:
    for number in range(20):
        uploads.put(f"intel/{number}.onnx")
    uploads.put("amd/a.onnx")  # what is ignored is not looked at again either
    uploads.sweep()
    looked_at.clear()
    uploads.forget_sweep()
    close_all()
    new = uploads.put("intel/new.onnx")
    assert uploads.sweep(2) == [new] and looked_at == [new]


def test_an_event_and_the_sweep_make_one_task(uploads: Uploads) -> None:
    key = uploads.put("intel/a.onnx")
    assert uploads.take_one(key).is_new
    assert uploads.sweep() == [] and len(uploads.tasks()) == 1


def test_two_workers_that_sweep_at_once_make_one_task_each_upload(uploads: Uploads) -> None:
    uploads.put("intel/a.onnx")
    assert uploads.sweep() == ["intel/a.onnx"]
    get_files().delete(f"{get_settings().cache_bucket}/triggers/seen/uploads")  # the other one knows nothing of it
    uploads.forget_sweep()
    assert uploads.sweep() == [] and len(uploads.tasks()) == 1


@pytest.mark.parametrize("swept_before", [True, False])
def test_a_deleted_task_is_never_made_again(uploads: Uploads, swept_before: bool) -> None:
    """Neither where the sweep has seen the object, nor where an event was faster and the deletion too, nor where all
    that the sweep knew is lost."""
    key = uploads.put("intel/a.onnx")
    taken = uploads.take_one(key)
    if swept_before:
        uploads.sweep()
    assert delete_tasks(list(taken.task_ids)) == dict.fromkeys(taken.task_ids, True)
    assert uploads.sweep(2) == []
    get_files().delete(f"{get_settings().cache_bucket}/triggers/seen/uploads")
    uploads.forget_sweep()
    assert uploads.sweep(2) == [] and uploads.tasks() == []


def test_an_upload_in_the_place_of_another_is_found(uploads: Uploads) -> None:
    uploads.put("intel/a.onnx", b"first")
    uploads.sweep()
    uploads.put("intel/a.onnx", b"second, longer")
    assert uploads.sweep() == ["intel/a.onnx"] and len(uploads.tasks()) == 2


def test_a_sidecar_that_comes_late_is_found(uploads: Uploads) -> None:
    key = uploads.put("intel/a.onnx")
    uploads.sweep()
    uploads.put(f"{key}.toml", b'priority = "low"')
    assert uploads.sweep() == [f"{key}.toml"] and uploads.sweep() == []
    assert [task.priority for task in uploads.tasks()] == ["normal", "low"]


def test_data_that_comes_late_is_found(uploads: Uploads, tmp_path: Path) -> None:
    model, data = model_with_data_beside_it(tmp_path)
    uploads.put("intel/m.onnx", model)
    assert uploads.sweep() == []
    uploads.put("intel/weights.bin", data)
    assert uploads.sweep() == ["intel/weights.bin"] and uploads.sweep() == []
    assert [task.input_path for task in uploads.tasks()] == [f"{uploads.bucket}/intel/m.onnx"]


def test_data_that_comes_between_the_listing_and_its_model_is_found(uploads: Uploads, tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """An event takes the model, and finds the data missing, while the sweep has listed the data already and knew of no
    model that needs it."""
    from shared.triggers import sweep

    model, data = model_with_data_beside_it(tmp_path)
    known = sweep.known_digests
    calls = []

    def racing(files: object, settings: object) -> set[str]:
        calls.append(1)
        if len(calls) % 2 == 0:  # the pass has listed everything; the door wrote its record before it looked
            uploads.remove("intel/weights.bin")
            uploads.put("intel/m.onnx", model)
            assert "waits for" in str(uploads.take_one("intel/m.onnx").ignored)
            uploads.put("intel/weights.bin", data)
        return known(files, settings)
    uploads.put("intel/weights.bin", data)
    monkeypatch.setattr(sweep, "known_digests", racing)
    assert uploads.sweep()[:1] == ["intel/weights.bin"]


def test_objects_are_found_that_came_while_everything_was_down(uploads: Uploads) -> None:
    uploads.put("intel/before.onnx")
    uploads.sweep()
    uploads.forget_sweep()
    close_all()
    uploads.put("intel/meanwhile.onnx")
    assert uploads.sweep() == ["intel/meanwhile.onnx"]


def test_a_pass_that_is_cut_off_goes_on_with_the_next(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.triggers import sweep

    keys = [uploads.put(f"intel/{number}.onnx") for number in range(6)]
    take_all, calls = sweep.take_all, []

    def failing(looked: list[list[Taken | Wanted]], pool: Executor) -> list[list[Taken]]:
        calls.append(looked)
        if len(calls) == 2:
            raise Unavailable("store")
        return take_all(looked, pool)
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "STEP", 2)
        patch.setattr(sweep, "take_all", failing)
        with pytest.raises(Unavailable):
            uploads.sweep()
    assert len(uploads.tasks()) == 2
    uploads.sweep()
    assert sorted(task.input_path for task in uploads.tasks()) == [f"{uploads.bucket}/{key}" for key in keys]


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), Damaged("a document")])
def test_an_object_that_meets_a_fault_of_ours_holds_up_no_other(uploads: Uploads, error: Exception,
                                                                monkeypatch: pytest.MonkeyPatch,
                                                                caplog: pytest.LogCaptureFixture) -> None:
    """It is looked at again in each pass, and its traceback is told once."""
    from shared.triggers import taking

    keys = [uploads.put(f"intel/{number}.onnx") for number in range(6)]
    look = taking._look_by_rules

    def failing(found: StoredObject) -> list[Taken | Wanted]:
        if found.key == keys[0]:
            raise error
        return look(found)
    caplog.set_level("INFO")
    with monkeypatch.context() as patch:
        patch.setattr(taking, "_look_by_rules", failing)
        assert sorted(uploads.sweep()) == keys[1:] and uploads.sweep(2) == []
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert uploads.sweep() == keys[:1]


def test_a_rule_for_new_objects_alone_leaves_the_old_ones(start: Callable[..., Uploads], files_url: str) -> None:
    uploads = start(files_url, '[[rule]]\nname = "new"\nbucket = "{bucket}"\ntarget = "intel"\nexisting = false\n')
    uploads.put("old.onnx")
    assert uploads.sweep(2) == []
    uploads.put("new.onnx")
    assert uploads.sweep(2) == ["new.onnx"]


ALL_AND_NEW = """
    [[rule]]
    name = "all"
    bucket = "{bucket}"
    target = "intel"
    [[rule]]
    name = "new"
    bucket = "{bucket}"
    target = { platform = "rockchip", parameters = { chip = "rk3588" } }
    existing = false
    """


def by_rule(uploads: Uploads) -> dict[str, list[str]]:
    """The keys of the objects that each rule has taken."""
    found: dict[str, list[str]] = {}
    for task in uploads.tasks():
        assert task.source is not None
        found.setdefault(task.source.rule, []).append(task.source.key)
    return {rule: sorted(keys) for rule, keys in found.items()}


def test_a_rule_for_new_objects_alone_leaves_the_old_ones_that_a_rule_beside_it_takes(
        start: Callable[..., Uploads], files_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that the other rule cannot take in the first pass."""
    from shared.triggers import taking

    uploads = start(files_url, ALL_AND_NEW)
    for key in ("old.onnx", "later.onnx"):
        uploads.put(key)
    look = taking._look_by_rules

    def failing(found: StoredObject) -> list[Taken | Wanted]:
        if found.key == "later.onnx":
            raise RuntimeError("a fault of ours")
        return look(found)
    with monkeypatch.context() as patch:
        patch.setattr(taking, "_look_by_rules", failing)
        uploads.sweep()
    assert by_rule(uploads) == {"all": ["old.onnx"]}
    uploads.sweep(2)
    assert by_rule(uploads) == {"all": ["later.onnx", "old.onnx"]}
    uploads.put("new.onnx")
    uploads.sweep()
    assert by_rule(uploads) == {"all": ["later.onnx", "new.onnx", "old.onnx"], "new": ["new.onnx"]}


@pytest.mark.parametrize("killed", [True, False])
def test_a_first_pass_that_is_cut_off_takes_no_old_objects_and_loses_no_new_ones(
        start: Callable[..., Uploads], files_url: str, killed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.triggers import sweep
    from shared.triggers.seen import Seen

    uploads = start(files_url, ALL_AND_NEW)
    old = [uploads.put(f"{number}.onnx") for number in range(6)]
    take_all, calls = sweep.take_all, []

    def failing(looked: list[list[Taken | Wanted]], pool: Executor) -> list[list[Taken]]:
        calls.append(looked)
        if len(calls) > 1:
            raise Unavailable("store")
        return take_all(looked, pool)
    monkeypatch.setattr(sweep, "STEP", 2)
    monkeypatch.setattr(sweep, "KEEP_EVERY", 2)
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "take_all", failing)
        if killed:
            patch.setattr(Seen, "end", lambda *_, **__: None)
        with pytest.raises(Unavailable):
            uploads.sweep()
    uploads.forget_sweep()
    since = f"{get_settings().cache_bucket}/triggers/since/new.json"
    deadline = time.monotonic() + 60
    while True:  # what is written in the moment in which the rule was seen may count as old
        new = uploads.put("new.onnx", b"a new model")
        (rule,), (model,) = get_files().find(since), get_files().find(f"{uploads.bucket}/{new}")
        assert rule.modified_at and model.modified_at and time.monotonic() < deadline
        if model.modified_at > rule.modified_at:
            break
    uploads.sweep(2)
    assert by_rule(uploads) == {"all": [*old, new], "new": [new]}


def test_prefixes_within_each_other_are_listed_once(start: Callable[..., Uploads], files_url: str,
                                                    looked_at: list[str]) -> None:
    uploads = start(files_url, '[[rule]]\nname = "a"\nbucket = "{bucket}"\nprefix = "in/"\ntarget = "intel"\n'
                               '[[rule]]\nname = "b"\nbucket = "{bucket}"\nprefix = "in/deep/"\ntarget = "intel"\n')
    uploads.put("in/deep/a.onnx")
    uploads.put("out/a.onnx")
    uploads.sweep()
    assert looked_at == ["in/deep/a.onnx"] and {task.source.rule for task in uploads.tasks() if task.source} == {
        "a", "b"}


def test_a_file_that_is_still_written_is_not_taken(in_folder: Uploads, tmp_path: Path) -> None:
    path = tmp_path / "buckets" / in_folder.bucket / "intel" / "a.onnx"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        for _ in range(5):
            file.write(b"a piece")
            file.flush()
            in_folder.sweep_once()
            in_folder.now += 0.6
    assert in_folder.tasks() == []
    in_folder.now += 1
    assert in_folder.sweep_once() == ["intel/a.onnx"]


def test_an_upload_of_our_own_adapter_is_not_taken_before_it_is_whole(in_folder: Uploads, tmp_path: Path) -> None:
    private = tmp_path / "buckets" / ".model-convert"
    private.mkdir(parents=True)
    (private / "unfinished-1.onnx").write_bytes(b"half")
    assert in_folder.sweep(2) == []


def test_the_tidying_removes_records_of_what_is_gone_and_no_others(uploads: Uploads, tmp_path: Path) -> None:
    model, data = model_with_data_beside_it(tmp_path)
    uploads.put("intel/m.onnx", model)
    uploads.put("intel/weights.bin", data)
    uploads.put("intel/b.onnx")
    taken = [uploads.take_one(key) for key in ("intel/m.onnx", "intel/b.onnx")]
    delete_tasks([task_id for one in taken for task_id in one.task_ids])
    uploads.sweep()
    sweep = uploads._sweep
    assert sweep is not None and sweep.tidy() == 0
    uploads.remove("intel/m.onnx")
    assert sweep.tidy() == 3 and sweep.tidy() == 0
    left = [info.path for folder in (companions.folder, companions.outlines, tombstones.folder)
            for info in get_files().find(folder(get_settings()))]
    assert len(left) == 1 and "was deleted" in str(uploads.take_one("intel/b.onnx").ignored)


# --- tags -------------------------------------------------------------------------------------------------------------


def test_results_and_their_source_carry_tags(in_minio: Uploads, tmp_path: Path) -> None:
    key = in_minio.put("intel/模型 (1).onnx")
    (task_id,) = in_minio.take_one(key).task_ids
    (task,) = in_minio.tasks()
    (tmp_path / "result").write_bytes(b"r")
    paths = [f"{in_minio.bucket}/results/{name}" for name in ("a.xml", "a.xml.manifest.json")]
    for path in paths:
        get_files().upload(tmp_path / "result", path)
    get_files().tag(f"{in_minio.bucket}/{key}", {"owner": "me"})
    assert task.source is not None
    tag_ended(task.model_copy(update={"status": "completed", "result": TaskResult(
        path=paths[0], files=paths[:1], sha256="", size_bytes=1, manifest_path=paths[1])}), task.source, get_files())
    wanted = {"model-convert-task": task_id, "model-convert-target": "intel",
              "model-convert-source": f"{in_minio.bucket}/intel/__ _1_.onnx"}
    assert [in_minio.tags(path) for path in paths] == [wanted] * 2
    assert in_minio.tags(f"{in_minio.bucket}/{key}") == {"owner": "me", "model-convert-intel": f"{task_id} completed"}
    assert in_minio.sweep(2) == []  # a tag is no upload


def test_a_failed_tasks_source_says_so_and_a_replaced_one_nothing(in_minio: Uploads) -> None:
    key = in_minio.put("intel/a.onnx")
    in_minio.take_one(key)
    (task,) = in_minio.tasks()
    assert task.source is not None
    failed = task.model_copy(update={"status": "failed", "error": StoredFailure(code="internal_error", message="")})
    tag_ended(failed, task.source, get_files())
    assert in_minio.tags(f"{in_minio.bucket}/{key}") == {"model-convert-intel": f"{task.id} failed"}
    in_minio.put(key, b"another")
    tag_ended(failed, task.source, get_files())
    assert in_minio.tags(f"{in_minio.bucket}/{key}") == {}


def test_a_tag_that_is_refused_fails_nothing(in_minio: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    key = in_minio.put("intel/a.onnx")
    in_minio.take_one(key)
    (task,) = in_minio.tasks()
    full = {f"own-{number}": "x" for number in range(10)}  # as many as an object may have
    get_files().tag(f"{in_minio.bucket}/{key}", full)
    assert task.source is not None
    tag_ended(task.model_copy(update={"status": "completed"}), task.source, get_files())
    assert in_minio.tags(f"{in_minio.bucket}/{key}") == full
    assert isinstance(get_files(), MinioFiles) and get_store().get(task.id) is not None


def test_a_file_whose_name_is_not_utf8_is_passed_over_and_told_once(in_folder: Uploads, tmp_path: Path,
                                                                    caplog: pytest.LogCaptureFixture) -> None:
    key = in_folder.put("intel/a.onnx")
    folder = bytes(tmp_path / "buckets" / in_folder.bucket / "intel")
    Path(os.fsdecode(folder + b"/b\xff.onnx")).write_bytes(b"a model")
    assert in_folder.sweep(2) == [key]
    told = [record.getMessage() for record in caplog.records if "not UTF-8" in record.getMessage()]
    assert len(told) == 1 and told[0].endswith(rf": {in_folder.bucket}/intel/b\xff.onnx")
