"""Where the reference says that an output is joined of parts, which are where the model can be cut."""
from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from tests import models
from worker.stages.joins import find_joined


def joined(tmp_path: Path, *after: onnx.NodeProto, parts: tuple[str, ...] = ("a", "b")) -> dict[str, list[str]]:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Sigmoid", ["x"], ["b"]),
             helper.make_node("Concat", list(parts), ["c"], axis=1), *after]
    path = tmp_path / "m.onnx"
    onnx.save(models.model(nodes, [models.value("x", [1, 2, 3])], [models.value(nodes[-1].output[0], None)],
                           [models.weights("w", 1, 2, 3)]), path)
    return find_joined(str(path), path.stat().st_size)


def test_the_parts_of_the_last_concat_are_named(tmp_path: Path) -> None:
    assert joined(tmp_path) == {"c": ["a", "b"]}
    moved = [helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 1]), helper.make_node("Identity", ["t"], ["y"])]
    assert joined(tmp_path, *moved) == {"y": ["a", "b"]}


@pytest.mark.parametrize("parts", [("a", "w"), ("a", "a"), ("a", "x")])
def test_what_no_cut_would_part_is_not_named(tmp_path: Path, parts: tuple[str, ...]) -> None:
    assert joined(tmp_path, parts=parts) == {}


def test_an_output_that_computes_something_of_the_whole_is_not_joined(tmp_path: Path) -> None:
    assert joined(tmp_path, helper.make_node("Relu", ["c"], ["y"])) == {}
