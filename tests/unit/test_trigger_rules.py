"""The rules' file: what is wrong in it is told with line and field, and what `check` says of an object."""
from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import triggers
from shared.creation.documents import build_tasks
from shared.deps import close_all
from shared.settings import read_settings
from shared.triggers.requests import build_request
from shared.triggers.rule_file import WrongRules, read_rules
from shared.triggers.rules import Rule, built_in
from shared.triggers.toml_lines import find_line
from shared.triggers.wishes import Wishes

LONG = "x/" * 507 + "xxx"
MANY_LABELS = ", ".join(f'label-{number} = "x"' for number in range(17))
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
RIGHT = '''
[[rule]]
name = "detectors"
bucket = "models"
prefix = "detectors/"
target = "intel"
output_prefix = "results/detectors/"
priority = "low"
labels = { team = "vision" }

[[rule]]
name = "boards"
bucket = "boards"
targets = ["intel", { platform = "rockchip", parameters = { chip = "rk3588" } }]
output_prefix = "results/"
'''


@pytest.fixture(autouse=True)
def empty_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", f"file:{tmp_path / 'buckets'}")
    monkeypatch.setenv("MODEL_CONVERT_STORE_URL", f"sqlite:{tmp_path / 'tasks.db'}")
    close_all()
    yield
    close_all()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return path


def wrongs(tmp_path: Path, text: str) -> list[str]:
    """`LINE: text` of each, in English."""
    path = write(tmp_path, text)
    with pytest.raises(WrongRules) as caught:
        read_rules(path, read_settings({}))
    assert len(caught.value.zh.splitlines()) == len(caught.value.en.splitlines())
    return [line.removeprefix(f"{path}:") for line in caught.value.en.splitlines()]


def test_a_right_file_has_its_rules_beside_the_built_in_one(tmp_path: Path) -> None:
    rules = read_rules(write(tmp_path, RIGHT), read_settings({}))
    assert [rule.name for rule in rules] == ["models-in", "detectors", "boards"]
    assert rules[0] == built_in()
    assert [rule.name for rule in read_rules(write(tmp_path, "built_in = false" + RIGHT), read_settings({}))] == [
        "detectors", "boards"]


@pytest.mark.parametrize(("old", "new", "said"), [
    ('priority = "low"', 'priority = "urgent"', "8: rule.0.priority should be one of"),
    ('priority = "low"', 'prio = "low"', "8: rule.0.prio is not a known field"),
    ('labels = { team = "vision" }', "labels = { team = 3 }", "9: rule.0.labels.team should be a string"),
    ('target = "intel"', 'target = "intell"', "6: rule.0.target intell is no target"),
    ('target = "intel"', 'target = { platform = "intel", task_type = "onnx_to_rknn" }',
     "6: rule.0.target intel has no"),
    ('name = "boards"', 'name = "detectors"', "12: rule.1.name is another rule's name"),
    ('name = "boards"', 'name = "models-in"', "12: rule.1.name is another rule's name"),
    ('name = "boards"\n', "", "11: rule.1.name is required"),
    ('bucket = "boards"', 'bucket = "Boards"', "13: rule.1.bucket bucket is invalid"),
    ('bucket = "boards"', 'bucket = "model-convert-cache"', "13: rule.1.bucket bucket is invalid"),
    ('bucket = "boards"', 'bucket = "boards"\ntarget = "intel"', "15: rule.1.targets must not be there together"),
    ('chip = "rk3588"', 'chip = "rk99"', "14: rule.1.targets.1.parameters.chip should be one of"),
    ('chip = "rk3588"', 'chip = "rk3588", precison = "fp16"', "14: rule.1.targets.1.parameters.precison is not a"),
    ('prefix = "detectors/"', 'prefix = "/detectors/"', "5: rule.0.prefix must not start with a slash"),
    ('prefix = "detectors/"', 'prefix = "detectors/"\nsuffix = ".pt"', "6: rule.0.suffix is not what intel takes"),
    ('priority = "low"', 'priority = "low"\ncallback_url = "http://example.com/"',
     "9: rule.0.callback_url callback_url is invalid"),
    ('"results/detectors/"', '"Results/detectors/"', "7: rule.0.output_prefix output_path is invalid"),
    ('targets = ["intel", {', 'targets = ["intel", "intel", {', "14: rule.1.targets.1 is another one of"),
    ('bucket = "boards"', 'bucket = "boards/new"', "13: rule.1.bucket must not contain a slash"),
    ('bucket = "boards"', 'bucket = "xn--boards"', "13: rule.1.bucket bucket is invalid: the bucket's"),
    ('prefix = "detectors/"', 'prefix = "detectors//"', '5: rule.0.prefix prefix is invalid: a part of it is'),
    ('prefix = "detectors/"', 'prefix = "detectors/../"', '5: rule.0.prefix prefix is invalid: a part of it is'),
    ('prefix = "detectors/"', f'prefix = "{LONG}"', "5: rule.0.prefix prefix is invalid: it is longer than"),
    ('prefix = "detectors/"', 'prefix = "detectors/"\nsuffix = "/a.onnx"', "6: rule.0.suffix must not contain a slash"),
    ('prefix = "detectors/"', 'prefix = "detectors/"\nsuffix = "\\n.onnx"', "6: rule.0.suffix suffix is invalid: it"),
    ('labels = { team = "vision" }', 'labels = { "a b" = "x" }', "9: rule.0.labels.a b.[key] should match"),
    ('labels = { team = "vision" }', f"labels = {{ {MANY_LABELS} }}",
     "9: rule.0.labels should have at most 16 items"),
    ('chip = "rk3588" } }]\noutput_prefix = "results/"', 'precision = "fp16" } }]\noutput_prefix = "Results/"',
     "15: rule.1.output_prefix output_path is invalid"),
    ('chip = "rk3588" } }]\noutput_prefix = "results/"', 'precision = "fp16" } }]\ncallback_url = "https://a/"',
     "15: rule.1.callback_url callback_url is invalid"),
    ('output_prefix = "results/"', 'output_prefix = "results/task_1234567890_1234567890/"',
     "15: rule.1.output_prefix task_1234567890_1234567890 is a folder of one task's own"),
    ('chip = "rk3588" }', 'chip = "rk3588", precision = "int8" }', "14: rule.1.targets.1.parameters precision int8"),
])
def test_what_is_wrong_is_told_with_its_line_and_its_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert RIGHT.count(old) == 1
    (line,) = wrongs(tmp_path, RIGHT.replace(old, new))
    assert line.startswith(said)


BY_FOLDERS = '[[rule]]\nname = "mine"\nbucket = "mine"\n'


@pytest.mark.parametrize(("line", "said"), [
    ('parameters = { precison = "fp16" }', "4: rule.0.parameters.precison is not a known field"),
    ('parameters = { precision = "fp7" }', "4: rule.0.parameters.precision should be one of"),
    ('suffix = ".pt"', "4: rule.0.suffix is not what cambricon, huawei, intel, qualcomm, rockchip takes: .onnx"),
    ('prefix = "a//"', "4: rule.0.prefix prefix is invalid"),
    ('callback_url = "http://example.com/"', "4: rule.0.callback_url callback_url is invalid"),
    ('output_prefix = "Results/"', "4: rule.0.output_prefix output_path is invalid"),
])
def test_a_rule_by_folders_is_wrong_where_no_target_could_be_right(tmp_path: Path, line: str, said: str) -> None:
    (found,) = wrongs(tmp_path, BY_FOLDERS + line)
    assert found.startswith(said)


def test_a_rule_by_folders_may_say_what_one_target_takes(tmp_path: Path) -> None:
    text = BY_FOLDERS + 'prefix = "in/"\noutput_prefix = "results/"\nparameters = { chip = "rk3588" }\n'
    rules = read_rules(write(tmp_path, text), read_settings({}))
    assert outputs_of_folders(rules[1], "in/rockchip/deep/a.onnx") == ["results/rockchip/deep/a.rknn"]


def outputs_of_folders(rule: Rule, key: str) -> list[str]:
    request = build_request(rule, rule.bucket, key, Wishes(parameters={"chip": "rk3588"}), "upload")
    return [task.output_path for task in build_tasks(request, read_settings({}))]


@pytest.mark.parametrize(("second", "is_wrong"), [
    ('prefix = "detectors/v2/"\noutput_prefix = "results/detectors/v2/"', True),  # both make …/v2/x.xml of v2/x.onnx
    ('output_prefix = "results/"', True),
    ('suffix = "_final.onnx"\noutput_prefix = "results/"', True),
    ('prefix = "detectors/v2/"\noutput_prefix = "results/detectors/"', False),
    ('prefix = "other/"\noutput_prefix = "results/detectors/"', False),
    ('prefix = "detectors/"', False),
])
def test_two_rules_that_make_one_result_of_one_object_are_wrong(tmp_path: Path, second: str, is_wrong: bool) -> None:
    text = f'{RIGHT}[[rule]]\nname = "again"\nbucket = "models"\ntarget = "intel"\n{second}\n'
    if is_wrong:
        (found,) = wrongs(tmp_path, text)
        assert "rule.2.output_prefix is where rule detectors writes as well: both would make results/detect" in found
    else:
        assert len(read_rules(write(tmp_path, text), read_settings({}))) == 4


def test_a_thousand_rules_are_checked_in_time(tmp_path: Path) -> None:
    text = "".join(f'[[rule]]\nname = "r{number}"\nbucket = "models"\nprefix = "{number}/"\ntarget = "intel"\n'
                   f'output_prefix = "results/{number}/"\n' for number in range(1000))
    started = time.monotonic()
    assert len(read_rules(write(tmp_path, text), read_settings({}))) == 1001
    assert time.monotonic() - started < 60


def test_everything_that_is_wrong_is_told_at_once_by_line(tmp_path: Path) -> None:
    text = RIGHT.replace('"low"', '"urgent"').replace('name = "boards"', 'name = "a b"')
    assert [line.split(":")[0] for line in wrongs(tmp_path, text)] == ["8", "12"]


def test_the_example_of_the_page_on_rules_is_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    rules = read_rules(write(tmp_path, example), read_settings({"MODEL_CONVERT_CALLBACK_SECRET": SECRET}))
    assert [rule.name for rule in rules] == ["models-in", "detectors", "boards"] and not rules[2].existing


def test_broken_toml_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(WrongRules, match="at line 3, column"):
        read_rules(write(tmp_path, '\n[[rule]]\nname = "x\n'), read_settings({}))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongRules, match=r"none\.toml: cannot be read: No such file"):
        read_rules(tmp_path / "none.toml", read_settings({}))


def test_lines_are_found_behind_long_strings_and_in_tables_of_tables() -> None:
    text = 'a = """\n[[rule]]\nb = 1\n"""\n[[rule]]\n[[rule.targets]]\nplatform = 1\n[[rule.targets]]\nx.y = 2\n[c]\n'
    assert [find_line(text, place) for place in (
        ("a",), ("rule", 0), ("rule", 0, "targets", 0, "platform"), ("rule", 0, "targets", 1, "x", "y"), ("c", "z"),
        ("nothing",))] == [1, 5, 7, 9, 10, 1]


@pytest.mark.parametrize(("path", "status", "said"), [
    ("models/detectors/v2/a.b.onnx", 0, "onnx_to_openvino for intel (precision fp16), priority low, team=vision, to "
                                        "results/detectors/v2/a.b.xml"),
    ("models/other/a.onnx", 1, "no rule fits models/other/a.onnx; there are: models-in, detectors, boards"),
    ("boards/a.onnx", 0, "chip rk3588), priority normal, to results/rockchip-rk3588/a.rknn"),
    ("boards/a.onnx.json", 0, "boards/a.onnx.json is a sidecar; it describes boards/a.onnx"),
    ("models-in/rockchip/rk3588/a/b.ONNX", 0, "onnx_to_rknn for rockchip (precision fp16, chip rk3588)"),
    ("models-in/rockchip/a.onnx", 1, "the chip is missing; the folder should be models-in/rockchip/<chip>/…"),
    ("models-in/rockchip/rk99/a.onnx", 1, "rk99 is no chip of rockchip: 'rk3562', "),
    ("models-in/huawei/Ascend310P3/a.onnx", 0, "onnx_to_om for huawei (chip Ascend310P3)"),
    ("models-in/huawei/Kirin/a.onnx", 1, "Kirin is no chip of huawei"),
    ("models-in/qualcomm/SM8650/a.onnx", 0, "for qualcomm"),
    ("models-in/intel/any/folder/a.onnx", 0, "for intel"),
    ("models-in/amd/a.onnx", 1, "amd is no target; the folder should be models-in/<platform>/… with one of: cambricon"),
    ("models-in/a.onnx", 1, "is no target"),
    ("models-in/intel/../a.onnx", 1, 'a part of it is empty, "." or ".."'),
    ("models-in/intel/.onnx", 1, "no rule fits"),
])
def test_check_says_what_would_happen(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str, status: int,
                                      said: str) -> None:
    assert triggers.main(["check", str(write(tmp_path, RIGHT)), path]) == status
    out, err = capsys.readouterr()
    assert said in out + err


def test_check_tells_of_wrong_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = write(tmp_path, RIGHT.replace('"low"', '"urgent"'))
    assert triggers.main(["check", str(rules), "models/detectors/a.onnx"]) == 1
    assert f"{rules}:8: rule.0.priority" in capsys.readouterr().err


def test_check_reads_the_sidecar_of_an_object_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "buckets" / "models-in" / "mine"
    folder.mkdir(parents=True)
    (folder / "a.onnx").write_bytes(b"")
    (folder / "a.onnx.json").write_text('{"platform": "intel", "parameters": {"precision": "fp32"}}')
    assert triggers.main(["check", "-", "models-in/mine/a.onnx"]) == 0
    assert "onnx_to_openvino for intel (precision fp32)" in capsys.readouterr().out
