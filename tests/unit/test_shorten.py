"""What a document quotes from a model is short, whatever the model says."""
from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.documents import TaskResult
from shared.schema import MAX_ITEMS, MAX_TEXT_CHARS, shorten

RESULT = {"path": "results/a.xml", "files": ["results/a.xml"], "sha256": "0" * 64, "size_bytes": 1,
          "manifest_path": "results/a.manifest.json"}
JSON = st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=400),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=400), inner), max_leaves=20)


def test_an_outputs_name_of_a_megabyte_does_not_enter_the_document() -> None:
    outputs = [{"name": "y" * 1_500_000, "cosine": 0.5}, {"name": "z", "cosine": 1.0}]
    result = TaskResult.model_validate(RESULT | {"accuracy": {"passed": True, "outputs": outputs}})
    assert len(result.model_dump_json()) < 2000
    names = [output["name"] for output in result.accuracy["outputs"]]
    assert names == ["y" * (MAX_TEXT_CHARS - 1) + "…", "z"]
    assert [output["cosine"] for output in result.accuracy["outputs"]] == [0.5, 1.0]


@given(JSON)
def test_what_is_short_stays_as_it_is_and_all_else_becomes_short(value: Any) -> None:
    once = shorten(value)
    assert shorten(once) == once
    if len(repr(value)) <= MAX_TEXT_CHARS:
        assert once == value


def test_many_items_are_cut() -> None:
    assert shorten(list(range(10_000))) == list(range(MAX_ITEMS))
    assert len(shorten({str(number): number for number in range(10_000)})) == MAX_ITEMS
