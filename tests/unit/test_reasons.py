"""The catalogues of texts: each entry is whole in both languages, is used, and has a code that its users may raise."""
from __future__ import annotations

import ast
import importlib
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shared.rules.bilingual import Bilingual, Template, as_it_is, join
from shared.rules.error_codes import ERRORS, PREFLIGHT, SERVICE, STAGE, WORKER
from shared.rules.refusal import Reason, Refusal

ROOT = Path(__file__).resolve().parents[2]
HAN = re.compile("[\u4e00-\u9fff]")
# Words in a row that no name, option or command has: a sentence that nobody translated.
SENTENCE = re.compile(r"\b[A-Za-z]+ [a-z']+ [a-z']+\b")
PROPER_NAMES = {"Python pickle"}
# Who raises what a file of these folders names. Stages and the pre-flight share the rules.
PLACES = (("shared/rules/", {PREFLIGHT, STAGE}), ("shared/preflight/", {PREFLIGHT}), ("worker/stages/", {STAGE}),
          ("worker/platforms/", {STAGE}), ("worker/", {WORKER}), ("shared/", {SERVICE}))


def module_name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")


@cache
def catalogues() -> dict[str, Any]:
    """All modules of texts, by name."""
    paths = [path for piece in ("shared", "worker") for path in sorted((ROOT / piece).rglob("*.py"))
             if path.name == "reasons.py" or (path.parent.name == "reasons" and path.name != "__init__.py")]
    return {module_name(path): importlib.import_module(module_name(path)) for path in paths}


def entries() -> Iterator[tuple[str, str, Any]]:
    """`(module, name, entry)`; a dict's values under the dict's name."""
    for module, content in catalogues().items():
        for name, value in vars(content).items():
            if name.isupper() and not name.startswith("_"):
                yield from ((module, name, entry) for entry in (value.values() if isinstance(value, dict) else [value]))


def texts() -> Iterator[Any]:
    for module, name, entry in entries():
        parts = [entry] if isinstance(entry, (Template, Bilingual)) else [entry.message, entry.hint]
        for part in parts:
            yield pytest.param(part, id=f"{module}.{name}")


def fields(text: str) -> set[tuple[str, str | None, str | None]]:
    return {(name, spec, conversion) for _, name, spec, conversion in string.Formatter().parse(text)
            if name is not None}


def bare(text: str) -> str:
    """The text without its parameters."""
    return "".join(literal for literal, _, _, _ in string.Formatter().parse(text))


@cache
def uses() -> dict[tuple[str, str], set[str]]:
    """{(catalogue, entry): the files that name it}."""
    found: dict[tuple[str, str], set[str]] = {}
    for piece in ("shared", "worker"):
        for path in sorted((ROOT / piece).rglob("*.py")):
            tree, names = ast.parse(path.read_text(), str(path)), {}
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    module = names.get(node.value.id, "")
                    found.setdefault((module, node.attr), set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_there_are_catalogues_of_the_service_the_stages_and_each_target() -> None:
    assert len(catalogues()) >= 12 and sum(1 for _ in entries()) > 150


@pytest.mark.parametrize("text", list(texts()))
def test_an_entry_says_the_same_in_both_languages(text: Template | Bilingual) -> None:
    assert fields(text.zh) == fields(text.en)
    assert bool(text.zh) == bool(text.en)


@pytest.mark.parametrize("text", list(texts()))
def test_an_entry_is_whole_in_each_language(text: Template | Bilingual) -> None:
    assert not HAN.search(text.en)
    assert not SENTENCE.search(bare(text.zh)), text.zh
    assert HAN.search(text.zh) or text.zh == text.en or text.zh in PROPER_NAMES


@pytest.mark.parametrize("text", list(texts()))
def test_chinese_punctuation_is_half_width_as_in_all_messages(text: Template | Bilingual) -> None:
    assert not re.search("[，。；：！？（）、“”]", text.zh)


def test_every_entry_is_used() -> None:
    unused = [f"{module}.{name}" for module, name, _ in entries() if not uses().get((module, name))]
    assert not unused


def test_a_refusal_is_made_by_a_catalogue_only() -> None:
    """Else its text would be in no catalogue, or in one language."""
    wrong = []
    for piece in ("shared", "worker"):
        for path in sorted((ROOT / piece).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(), str(path))):
                if not isinstance(node, ast.Call):
                    continue
                name = getattr(node.func, "id", "")
                if name in ("Refusal", "StageError", "StoredFailure") or (name == "ConversionFailed" and any(
                        isinstance(value, (ast.Constant, ast.JoinedStr)) for value in node.args)):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert [place.partition(":")[0] for place in wrong] == ["shared/rules/refusal.py"]


@pytest.mark.parametrize("code", ERRORS)
def test_the_table_says_who_raises_a_code(code: str) -> None:
    raising: set[str] = set()
    for module, name, entry in entries():
        if isinstance(entry, Reason) and entry.code == code:
            for path in uses()[module, name]:
                raising |= next(who for folder, who in PLACES if path.startswith(folder))
    assert raising == set(ERRORS[code].raised_by)


def test_a_reason_with_its_parameters_is_a_refusal_in_both_languages() -> None:
    reason = Reason("model_invalid", "{what}不对: {said!r}", "{what} is wrong: {said!r}", "改 {what}", "mend {what}")
    refusal = reason(what=Bilingual("形状", "shape"), said="{x}", vendor_code="E1")
    assert (refusal.message, refusal.message_zh) == ("shape is wrong: '{x}'", "形状不对: '{x}'")
    assert (refusal.hint, refusal.hint_zh, refusal.vendor_code) == ("mend shape", "改 形状", "E1")
    assert str(refusal) == refusal.message
    assert vars(Refusal.from_json(refusal.to_json())) == vars(refusal)


def test_texts_are_joined_in_each_language() -> None:
    assert join("; ", [Bilingual("一", "one"), as_it_is("x")]) == Bilingual("一; x", "one; x")


def test_what_is_carried_between_processes_is_bounded() -> None:
    told = Refusal("model_invalid", as_it_is("x" * 10000), as_it_is("y" * 10000)).to_json()
    assert max(len(value) for value in told.values() if value) == 2000
