"""The PP-OCR networks through all stages, here and in the toolchains' own interpreters."""
from __future__ import annotations

import ast

import numpy as np
import onnx
import onnxruntime
import pytest

from tests import models
from tests.fixtures.stages import Conversion, real_model
from worker.platforms.intel.toolkit import ov
from worker.stage_api import StageError
from worker.stages.samples import make_inputs
from worker.toolchains import ROOT

SHAPES = {"det": [1, 3, 320, 320], "rec": [1, 3, 48, 160], "cls": [1, 3, 48, 192]}


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_real_network_converts_and_its_artefact_answers_like_the_network(tmp_path, name, precision):
    conversion = Conversion(tmp_path, real_model(name), input_shape=SHAPES[name], precision=precision)
    facts = conversion.run("verify")
    assert facts["passed"] is True
    assert conversion.facts["optimize"]["simplified"] is True
    assert conversion.facts["optimize"]["nodes_after"] < conversion.facts["optimize"]["nodes_before"] / 1.5
    assert conversion.facts["reference"]["outputs"][0]["max_abs"] > 0.5, "samples that show nothing prove nothing"
    # An input that no stage has seen, compared without any code of the stages.
    (entry,) = conversion.facts["optimize"]["inputs"]
    feed = make_inputs([entry], "picture", seed=77)
    expected = onnxruntime.InferenceSession(real_model(name)).run(None, feed)[0]
    compiled = ov.Core().compile_model(conversion.dir("compile") / "model.xml", "CPU",
                                       {"INFERENCE_PRECISION_HINT": "f32"})
    actual = compiled(feed)[0]
    assert actual.shape == expected.shape
    cosine = np.vdot(expected, actual) / np.linalg.norm(expected) / np.linalg.norm(actual)
    assert cosine > (0.9999 if precision == "fp32" else 0.99)


def test_silero_vad_with_a_fixed_sampling_rate_is_one_network_without_control_flow(tmp_path):
    conversion = Conversion(tmp_path, real_model("vad"), input_shape="input:1,512;state:2,1,128",
                            fixed_inputs={"sr": 16000}, precision="fp32")
    assert conversion.run("verify")["passed"] is True
    assert [entry["name"] for entry in conversion.facts["optimize"]["inputs"]] == ["input", "state"]
    operators = {node.op_type for node in onnx.load(conversion.dir("optimize") / "model.onnx").graph.node}
    assert conversion.facts["optimize"]["simplified"] is True and operators.isdisjoint({"If", "Loop"})



@pytest.mark.parametrize("name", SHAPES)
def test_the_toolchains_own_interpreters_give_the_same_facts(tmp_path, name):
    here = Conversion(tmp_path / "here", real_model(name), input_shape=SHAPES[name])
    apart = Conversion(tmp_path / "apart", real_model(name), input_shape=SHAPES[name], own_interpreter=True)
    assert apart.run("verify")["passed"] is here.run("verify")["passed"] is True
    for stage in ("inspect", "optimize", "reference", "compile"):
        assert apart.facts[stage] == here.facts[stage], stage
    assert (apart.dir("compile") / "model.bin").read_bytes() == (here.dir("compile") / "model.bin").read_bytes()


def test_a_real_network_without_a_shape_is_told_which_dimensions_are_open(tmp_path):
    with pytest.raises(StageError) as caught:
        Conversion(tmp_path, real_model("det"), own_interpreter=True).run("optimize")
    assert caught.value.code == "dynamic_shape"
    assert "dimension 2 (p2o.DynamicDimension.1)" in caught.value.message
    assert "x:1,3,224,224" in caught.value.hint


@pytest.mark.parametrize("share", [0.2, 0.99])
def test_a_truncated_real_network_is_unreadable(tmp_path, share):
    data = real_model("cls").read_bytes()
    with pytest.raises(StageError) as caught:
        Conversion(tmp_path, data[:int(len(data) * share)]).run("fetch")
    assert caught.value.code == "model_unreadable"


def test_external_data_is_found_in_its_own_interpreter(tmp_path):
    folder = tmp_path / "upload"
    folder.mkdir()
    conversion = Conversion(tmp_path, models.external(folder, "a/w.bin"), own_interpreter=True)
    assert [entry["location"] for entry in conversion.run("inspect")["external_data"]] == ["a/w.bin"]
    assert conversion.facts["fetch"] == {"locations": ["a/w.bin"]}


def test_code_for_toolchains_is_written_for_python_3_8():
    core = {"common.py", "fetch.py", "publish.py"}
    sources = [path for path in (ROOT / "worker" / "stages").glob("*.py") if path.name not in core]
    sources += [ROOT / "worker" / "platforms" / "intel" / f"{name}.py"
                for name in ("compile", "verify", "toolkit", "preload")]
    assert len(sources) > 12
    for source in sources:
        ast.parse(source.read_text(), str(source), feature_version=(3, 8))
