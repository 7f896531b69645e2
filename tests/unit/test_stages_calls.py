"""Vendors' calls: what is made is what is told, since both come from one object."""
from __future__ import annotations

import math
from pathlib import Path

import pytest

from worker.stages.calls import File, Name, Script, Shown

MATH, PATH = Name("math"), Name("Path")


def test_a_line_is_told_and_made() -> None:
    script = Script("import math", math=math)
    assert script.let("root", MATH.sqrt(9.0)) == 3.0
    assert script.do(MATH.pow(Name("root"), 2)) == 9.0
    assert script.commands == ["import math", "root = math.sqrt(9.0)", "math.pow(root, 2)"]


def test_what_was_told_computes_the_same_by_hand() -> None:
    script = Script("import math", math=math)
    script.let("values", [MATH.pi, {"tau": MATH.tau, "text": "it's"}, None, (1, 2), True])
    by_hand: dict[str, object] = {}
    exec("\n".join(script.commands), by_hand)
    wanted = [math.pi, {"tau": math.tau, "text": "it's"}, None, (1, 2), True]
    assert by_hand["values"] == script.known["values"] == wanted


def test_arguments_by_name_and_calls_of_what_calls_answer() -> None:
    script = Script("from pathlib import Path", Path=Path)
    assert script.do(PATH("a/b.txt").with_name(name="c.txt").as_posix()) == "a/c.txt"
    assert script.commands[-1] == "Path('a/b.txt').with_name(name='c.txt').as_posix()"


def test_a_file_is_made_by_its_path_and_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("model")
    script = Script(Path=Path)
    assert script.do(PATH(File(str(tmp_path / "m.onnx"))).read_text()) == "model"
    assert script.commands == ["Path('m.onnx').read_text()"]


def test_a_value_of_this_machine_has_a_text_of_its_own() -> None:
    script = Script(len=len)
    assert script.do(Name("len")(Shown([1, 2, 3], "samples"))) == 3
    assert script.commands == ["len(samples)"]


def test_a_line_that_fails_has_been_told() -> None:
    script = Script(math=math)
    with pytest.raises(ValueError):
        script.do(MATH.sqrt(-1))
    assert script.commands == ["math.sqrt(-1)"]


def test_a_vendors_names_are_never_taken_for_the_expressions_own() -> None:
    class Vendor:
        known, commands, make = 1, 2, 3

    script = Script(vendor=Vendor)
    assert [script.do(getattr(Name("vendor"), name)) for name in ("known", "commands", "make")] == [1, 2, 3]


def test_private_names_are_no_vendors() -> None:
    with pytest.raises(AttributeError):
        _ = Name("vendor")._private
