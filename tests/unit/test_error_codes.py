"""One table of error codes: the code raises no other, and the pages that are made from it are up to date."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.error_codes import PAGE, render
from infra.gateway import load_functions
from shared.api.openapi import build_document
from shared.rules.bilingual import Bilingual
from shared.rules.error_codes import CODES, ERRORS, WARNINGS
from shared.rules.refusal import Reason, Refusal

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "shared" / "rules" / "error_codes.py"
HAN = re.compile("[\u4e00-\u9fff]")
RAISES = ("Refusal", "StageError", "Reason", "warn")


def sources() -> Iterator[ast.Module]:
    for piece in ("shared", "worker"):
        for path in sorted((ROOT / piece).rglob("*.py")):
            if path != TABLE:
                yield ast.parse(path.read_text(), str(path))


def literals() -> set[str]:
    return {node.value for tree in sources() for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def raised() -> Iterator[str]:
    """The codes that stand as literals where something is raised or made a task's error."""
    for tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = node.args[:1] if name in RAISES else []
            given += [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            yield from (value.value for value in given if isinstance(value, ast.Constant)
                        and isinstance(value.value, str))


def test_every_code_that_is_raised_is_in_the_table() -> None:
    assert len(set(raised())) > 30
    assert set(raised()) <= set(CODES)


def test_every_code_of_the_table_is_used() -> None:
    assert set(CODES) <= literals()


def test_codes_are_words_and_an_error_is_no_warning() -> None:
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in CODES)
    assert not set(ERRORS) & set(WARNINGS)


@pytest.mark.parametrize("code", CODES)
def test_a_row_is_whole_in_both_languages(code: str) -> None:
    row = CODES[code]
    assert row.raised_by
    assert HAN.search(row.meaning_zh) and HAN.search(row.hint_zh)
    assert row.meaning_en and row.hint_en and not HAN.search(row.meaning_en + row.hint_en)


def test_an_error_with_a_code_that_is_not_in_the_table_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="'no_such_code' is not in"):
        Refusal("no_such_code", Bilingual("消息", "a message"))
    with pytest.raises(ValueError, match="'no_such_code' is not in"):
        Reason("no_such_code", "消息", "a message")


def test_the_page_is_made_from_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run python -m infra.error_codes"


def test_the_openapi_document_lists_the_codes_of_each_field() -> None:
    document = build_document(function.endpoint for function in load_functions().values())
    schemas = document["components"]["schemas"]
    told = schemas["TaskFailure"]["properties"]["code"]["description"]
    assert all(f"`{code}`: {row.meaning_zh} / {row.meaning_en}" in told for code, row in ERRORS.items())
    assert not any(f"`{code}`" in told for code in WARNINGS)
    assert all(schemas[name]["properties"]["hint"] == {"type": "string", "title": "Hint", "default": ""}
               for name in ("TaskFailure", "Finding"))
    told = schemas["Finding"]["properties"]["code"]["description"]
    assert all(f"`{code}`" in told for code, row in CODES.items() if "preflight" in row.raised_by)
