"""A real conversion by a worker's runner: what its manifest and report say, and that the artefact can be made again."""
from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from shared.documents import Status, Task
from shared.settings import get_settings
from tests.fixtures.calibration import npy, pictures
from tests.fixtures.common import missing
from tests.integration.worker_kit import COVERAGE, TARGET, Bench, claim
from tests.models import cancelling, convolution
from worker import reproduce
from worker.main import served_plans
from worker.plan import get_plans
from worker.process import ToolHost, clean_environment
from worker.report import Report
from worker.runner import TaskRunner

PLAN = get_plans()[TARGET.name]


@dataclass(frozen=True)
class Converted:
    """A completed task, and what it was made of and published, in a folder."""

    task: Task
    folder: Path
    manifest: dict[str, Any]

    @property
    def model(self) -> Path:
        return self.folder / "buckets" / self.task.input_path

    def published(self, path: str) -> bytes:
        return (self.folder / "buckets" / path).read_bytes()


class RealBench(Bench):
    """Converts with the toolchains that are installed here."""

    def __init__(self, folder: Path, hosts: dict[str, ToolHost], toolchains: dict[str, Any]) -> None:
        super().__init__(folder, hosts)
        self.tools = replace(self.tools, toolchains=toolchains)

    def run_lease(self, lease: Any) -> None:
        TaskRunner(self.tools, PLAN, lease, self.folder / "work" / f"{lease.task.id}-{lease.epoch}").run()

    def convert(self, **parameters: Any) -> Converted:
        task = self.submit(output_path=f"out/a model{TARGET.artefact_suffix}", input_path="in/model.onnx",
                           parameters=TARGET.parameters.model_validate(parameters).model_dump(mode="json"))
        self.run_lease(claim(self.store, task))
        done = self.store.get(task.id)
        assert done.status is Status.COMPLETED, done.error
        manifest = json.loads(self.content(done.result.manifest_path))
        return Converted(done, self.folder, manifest)


@pytest.fixture(scope="module")
def make_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    _, toolchains = served_plans(get_settings())
    if not {stage.environment for stage in PLAN.stages} <= {"core", *toolchains}:
        missing("the toolchain", "run: make toolchains")
    needed = {name: toolchain for name, toolchain in toolchains.items()
              if name in {stage.environment for stage in PLAN.stages}}
    hosts = {name: ToolHost(name, toolchain.interpreter, toolchain.environment.preload, clean_environment(COVERAGE))
             for name, toolchain in needed.items()}
    yield lambda: RealBench(tmp_path_factory.mktemp("conversion"), hosts, needed)
    for host in hosts.values():
        host.close()


@pytest.fixture(scope="module")
def converted(make_bench: Any) -> Converted:
    bench = make_bench()
    bench.upload("in/model.onnx", convolution(("n", 3, 32, 32)).SerializeToString())
    return bench.convert(input_shape="x:1,3,32,32", precision="fp16")


@pytest.fixture(scope="module")
def quantized(make_bench: Any) -> Converted:
    bench, generator = make_bench(), np.random.default_rng(0)
    bench.upload("in/model.onnx", convolution().SerializeToString())
    for number in range(12):
        bench.upload(f"models/set/{number}.npy", npy(generator.random((3, 32, 32), np.float32)))
    return bench.convert(precision="int8", calibration="models/set", verify={"min_cosine": 0.9})


def run(converted: Converted, out: Path, *options: str, manifest: dict[str, Any] | None = None,
        model: Path | None = None) -> int:
    path = out.parent / "a.manifest.json"
    path.write_text(json.dumps(manifest or converted.manifest))
    return reproduce.main([str(path), str(model or converted.model), str(out), *options])


# --- what a manifest says ---------------------------------------------------------------------------------------------


def test_the_manifest_names_every_file_by_its_digest(converted: Converted) -> None:
    manifest = converted.manifest
    assert [entry["path"] for entry in manifest["artefact"]] == converted.task.result.files == [
        "out/a model.xml", "out/a model.bin"]
    for entry in manifest["artefact"]:
        content = converted.published(entry["path"])
        assert (entry["sha256"], entry["size_bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    sent = hashlib.sha256(converted.model.read_bytes()).hexdigest()
    assert {name: about["sha256"] for name, about in manifest["input"]["files"].items()} == {"model.onnx": sent}


def test_the_manifest_tells_of_each_stage_what_it_read_and_with_which_tools(converted: Converted) -> None:
    stages = {entry["name"]: entry for entry in converted.manifest["stages"]}
    assert list(stages) == [record.name for record in converted.task.stages if record.name != "publish"]
    assert stages["optimize"]["parameters"]["input_shape"] == {"x": [1, 3, 32, 32]}  # as the stage got it
    compiled = stages["compile"]
    assert compiled["tools"]["openvino"] == converted.task.result.toolchain["openvino"]
    assert compiled["parameters"]["precision"] == "fp16" and compiled["inputs"][0] == "optimize"
    for record in converted.task.stages[:-1]:
        entry = stages[record.name]
        assert (entry["key"], entry["output_digest"]) == (record.key, record.output_digest)
        assert entry["seconds"] == record.seconds >= 0 and len(entry["code_digest"]) == 64
        assert (entry["toolchain_digest"] is None) == (entry["environment"] == "core")
        if entry["environment"] != "core":
            assert entry["peak_memory_bytes"] > 1 << 20
    told = json.dumps(converted.manifest)
    assert str(converted.folder) not in told and converted.manifest["parameters"]["precision"] == "fp16"


def test_the_report_is_beside_it_as_json_and_as_a_page(converted: Converted) -> None:
    result = converted.task.result
    assert (result.manifest_path, result.report_path, result.report_page_path) == (
        "out/a model.xml.manifest.json", "out/a model.xml.report.json", "out/a model.xml.report.html")
    report = Report.model_validate_json(converted.published(result.report_path))
    assert report.model.operators == {"BatchNormalization": 1, "Conv": 1, "Flatten": 1, "Gemm": 1,
                                      "GlobalAveragePool": 1, "Relu": 1}
    assert report.model.inputs[0].shape == ["n", 3, 32, 32] and report.inputs[0].shape == [1, 3, 32, 32]
    assert report.accuracy["passed"] and report.accuracy["outputs"][0]["cosine"] > 0.999
    assert [timing.stage for timing in report.timings] == [entry["name"] for entry in converted.manifest["stages"]]
    assert report.artefact[0].sha256 == result.sha256 and report.toolchain == result.toolchain
    page = converted.published(result.report_page_path).decode()
    assert "in/model.onnx" in page and result.sha256 in page and "<script" not in page


def test_a_quantized_ones_manifest_names_the_calibration_files(quantized: Converted) -> None:
    stages = {entry["name"]: entry for entry in quantized.manifest["stages"]}
    assert len(stages["calibration_files"]["files"]) == 12
    assert stages["calibration"]["facts"]["quantize"] and stages["calibration"]["facts"]["verify"]


# --- making it again --------------------------------------------------------------------------------------------------


def test_the_artefact_is_made_again_bit_for_bit(converted: Converted, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert run(converted, tmp_path / "out") == 0
    for path in converted.task.result.files:
        assert (tmp_path / "out" / Path(path).name).read_bytes() == converted.published(path)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == [
        "toolchain", "toolchain", "code", *(entry["name"] for entry in converted.manifest["stages"]), "artefact",
        "artefact"]
    assert all(" equal" in line for line in told), told


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "wrong kind"])
def test_a_quantized_artefact_needs_its_calibration_set(quantized: Converted, tmp_path: Path, as_zip: bool,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    assert run(quantized, tmp_path / "out") == 2
    assert "--input calibration=" in capsys.readouterr().err
    folder = quantized.folder / "buckets/models/set"
    if as_zip:
        given = Path(shutil.make_archive(str(tmp_path / "set"), "zip", folder))
        assert run(quantized, tmp_path / "out", "--calibration", str(given)) == 2
        assert "is not the file that was converted" in capsys.readouterr().err
        return
    assert run(quantized, tmp_path / "out", "--calibration", str(folder)) == 0, capsys.readouterr()
    assert run(quantized, tmp_path / "again", "--input", f"calibration={folder}") == 0


def test_own_test_inputs_stand_in_the_manifest_and_are_needed_again(make_bench: Any, tmp_path: Path,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    bench, generator = make_bench(), np.random.default_rng(0)
    bench.upload("in/model.onnx", convolution().SerializeToString())
    for number in range(2):
        bench.upload(f"models/own/{number}.npy", npy(generator.random((3, 32, 32), np.float32)))
    converted = bench.convert(precision="fp16", verify={"inputs": "models/own"})
    stages = {entry["name"]: entry for entry in converted.manifest["stages"]}
    assert [*stages["verify_files"]["files"]] == ["verify.inputs/0.npy", "verify.inputs/1.npy"]
    assert [sample["kind"] for sample in stages["reference"]["facts"]["samples"]] == ["own", "own"]
    assert run(converted, tmp_path / "out") == 2
    assert "--input verify.inputs=" in capsys.readouterr().err
    folder = converted.folder / "buckets/models/own"
    assert run(converted, tmp_path / "out", "--input", f"verify.inputs={folder}") == 0, capsys.readouterr()
    bench.upload("models/own/0.npy", npy(generator.random((3, 32, 32), np.float32)))
    again = bench.convert(precision="fp16", verify={"inputs": "models/own"})
    keys = {entry["name"]: entry["key"] for entry in again.manifest["stages"]}
    assert keys["reference"] != stages["reference"]["key"] and keys["compile"] == stages["compile"]["key"]


def test_what_auto_has_chosen_is_made_again_from_the_manifest_without_any_other_try(
        make_bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = make_bench()
    bench.upload("in/model.onnx", cancelling().SerializeToString())
    for name, content in pictures(12, 1, 3, 16, 16).items():
        bench.upload(f"models/set/{name}", content)
    made = bench.convert(precision="auto", calibration="models/set", verify={"min_cosine": 0.98, "samples": 2},
                         quantization={"accuracy_control": {"max_drop": 0.5}})
    chosen = made.task.result.attempts[-1]
    assert (chosen.name, chosen.status, made.manifest["parameters"]["precision"]) == ("fp16", "passed", "fp16")
    assert made.manifest["parameters"]["calibration"] is None and len(made.task.result.attempts) > 2
    assert run(made, tmp_path / "out") == 0, capsys.readouterr()
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told[3:-2]] == [
        "fetch", "inspect", "optimize", "reference", "prepare", "compile", "verify"]


def test_without_a_calibration_set_auto_tells_what_one_would_bring(make_bench: Any) -> None:
    bench = make_bench()
    bench.upload("in/model.onnx", convolution().SerializeToString())
    made = bench.convert(precision="auto")
    rows = made.task.result.attempts
    assert [(row.name, row.status, row.chosen) for row in rows] == [
        ("int8", "not_available", False), ("int8-minmax", "not_available", False),
        ("int8-mixed", "not_available", False), ("fp16", "passed", True)]
    assert "needs a calibration set" in rows[0].message and "校准集" in rows[0].message_zh
    report = Report.model_validate_json(made.published(made.task.result.report_path))
    assert any("int8, int8-minmax, int8-mixed" in warning for warning in report.warnings)
    assert "not available" in made.published(made.task.result.report_page_path).decode()


def test_a_model_with_data_beside_it_is_made_again(make_bench: Any, tmp_path: Path) -> None:
    bench = make_bench()
    onnx.save_model(convolution(), tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin",
                    size_threshold=0)
    for name in ("model.onnx", "weights.bin"):
        bench.upload(f"in/{name}", (tmp_path / name).read_bytes())
    made = bench.convert()
    assert run(made, tmp_path / "out", model=tmp_path / "model.onnx") == 0
    (tmp_path / "weights.bin").write_bytes(b"\0" * 100)
    assert run(made, tmp_path / "out", model=tmp_path / "model.onnx") == 2


def test_another_model_is_refused(converted: Converted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(converted.model.read_bytes() + b"\0")
    assert run(converted, tmp_path / "out", model=other) == 2
    assert "is not the file that was converted" in capsys.readouterr().err
    assert run(converted, tmp_path / "out", model=tmp_path / "none.onnx") == 2
    assert not (tmp_path / "out").exists()


def changed(manifest: dict[str, Any], stage: str, **changes: Any) -> dict[str, Any]:
    copy = json.loads(json.dumps(manifest))
    (entry,) = (entry for entry in copy["stages"] if entry["name"] == stage)
    entry.update(changes)
    return copy


def test_what_differs_is_named_and_the_answer_is_the_artefacts(converted: Converted, tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    facts = next(entry["facts"] for entry in converted.manifest["stages"] if entry["name"] == "inspect")
    other = changed(converted.manifest, "inspect", output_digest="0" * 64, facts=facts | {"nodes": 7})
    other = changed(other, "compile", tools={"openvino": "2020.1"}, code_digest="0" * 64)
    assert run(converted, tmp_path / "out", manifest=other) == 0
    told = capsys.readouterr().out
    assert "inspect                      differs: fact nodes" in told
    assert "in the manifest" in told and "2020.1" in told and "code                         differs: of compile" in told
    other["artefact"][1]["sha256"] = "0" * 64
    assert run(converted, tmp_path / "out", manifest=other) == 1
    assert "artefact a model.bin         differs" in capsys.readouterr().out


def test_another_precision_makes_another_artefact(converted: Converted, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    other = json.loads(json.dumps(converted.manifest))
    other["parameters"]["precision"] = "fp32"
    assert run(converted, tmp_path / "out", manifest=other) == 1
    told = capsys.readouterr().out
    assert "compile                      differs: file model.bin" in told
    assert "reference                    equal" in told
    assert (tmp_path / "out" / "a model.bin").stat().st_size > len(converted.published("out/a model.bin"))


def test_a_stage_that_fails_is_told(converted: Converted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = json.loads(json.dumps(converted.manifest))
    other["parameters"]["input_shape"] = "x:1,4,32,32"
    assert run(converted, tmp_path / "out", manifest=other) == 1
    assert "stage optimize failed: input_shape_mismatch" in capsys.readouterr().err


@pytest.mark.parametrize(("change", "says"), [
    ({"manifest_version": 2}, "no manifest of version 1"), ({"platform": "nothing"}, "no target 'nothing'"),
    ({"stages": []}, "another version of this project"), ({"parameters": 3}, "lacks something")])
def test_a_manifest_that_is_of_no_use_is_refused(converted: Converted, tmp_path: Path, change: dict[str, Any],
                                                 says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(converted, tmp_path / "out", manifest=converted.manifest | change) == 2
    assert says in capsys.readouterr().err


def test_a_manifest_cannot_name_code_to_run_or_files_elsewhere(converted: Converted, tmp_path: Path) -> None:
    assert run(converted, tmp_path / "out", manifest=changed(converted.manifest, "compile", entry="os:abort")) == 0
    outside = {"../../escaped": converted.manifest["input"]["files"]["model.onnx"]}
    assert run(converted, tmp_path / "out2", manifest=changed(converted.manifest, "fetch", files=outside)) == 2
    assert not list(tmp_path.parent.rglob("escaped"))


def test_a_toolchain_that_is_not_installed_is_named(converted: Converted, tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MODEL_CONVERT_TOOLCHAINS_DIR", str(tmp_path / "none"))
    get_settings.cache_clear()
    try:
        assert run(converted, tmp_path / "out") == 2
    finally:
        get_settings.cache_clear()
    assert "make toolchain-" in capsys.readouterr().err


def test_nothing_is_left_but_the_artefact(converted: Converted, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))
    assert run(converted, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a model.bin", "a model.xml"]
    assert list(work.iterdir()) == []
