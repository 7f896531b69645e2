"""What the documents say of the code is so: the table of transitions, the matrix of faults, the glossary, the map."""
from __future__ import annotations

import ast
import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from shared import transitions
from shared.api.task_events import EventView
from shared.api.views import WaitsFor
from shared.documents import Event
from shared.transitions import Change
from tests.contract.store_changes import EVERY

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"`([^`]+)`")


def read_table(document: str, heading: str) -> Iterator[list[str]]:
    """The cells of each row of the tables below a heading, without the tables' own heads."""
    text = (ROOT / document).read_text().partition(f"\n{heading}\n")[2]
    section = re.split(rf"\n#{{1,{heading.count('#')}}} ", text)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    heads = {index - 1 for index, line in enumerate(rows) if line.startswith("|---")}
    for index, line in enumerate(rows):
        if index not in heads and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


# --- docs/protocol.md -------------------------------------------------------------------------------------------------

TRANSITIONS = {CODE.findall(row[0])[0]: row for row in read_table("docs/protocol.md", "## The table")}
FREED = {"owner", "log_lines", "waits_for"}


def changes(name: str) -> list[Change]:
    """Every variant of the transition: with and without what a caller may leave out."""
    return [make() for variant, make in EVERY.items() if re.split(r" ", variant)[0] == name]


def test_the_protocols_table_names_every_transition_and_no_other() -> None:
    in_code = {name for name, function in inspect.getmembers(transitions, inspect.isfunction)
               if function.__module__ == transitions.__name__ and not name.startswith("_")
               and function.__annotations__["return"] == "Change"}
    assert TRANSITIONS.keys() == in_code


@pytest.mark.parametrize("name", TRANSITIONS)
def test_the_protocols_table_has_the_fields_and_events_of_the_code(name: str) -> None:
    _, _, where, effect, events = TRANSITIONS[name]
    written = set(CODE.findall(effect)) | (FREED if "freed" in effect else set())
    said = [set(CODE.findall(where)), written, set(CODE.findall(events))]
    done = changes(name)
    seen = [{field for change in done for field in fields(change)} for fields in (
        lambda change: change.where, lambda change: (change.set | change.increment).keys() - {"updated_at"},
        lambda change: [event.type for event in change.events])]
    assert said == seen


def test_the_protocols_page_names_the_changes_that_leave_updated_at_alone() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text()
    (sentence,) = re.findall(r"Every change but ([^.]*) also writes `updated_at`", page)
    assert set(CODE.findall(sentence)) == {name for name in TRANSITIONS
                                           if not all("updated_at" in change.set for change in changes(name))}


@pytest.mark.parametrize("name", TRANSITIONS)
def test_the_protocols_table_has_the_statuses_of_the_code(name: str) -> None:
    def statuses(cell: str) -> set[str]:
        said = re.findall(r"`status` ([a-z]+(?:(?:, | or )(?:pending|running|paused|completed|failed))*)", cell)
        return {status for part in said for status in re.split(", | or ", part)}

    filters, effects = set(), set()
    for change in changes(name):
        wanted = change.where.get("status")
        filters |= set(getattr(wanted, "values", () if wanted is None else (wanted,)))
        effects |= {change.set["status"]} if "status" in change.set else set()
    if name != "reap":  # its filter has whichever status the reaper saw
        assert statuses(TRANSITIONS[name][2]) == filters
    assert statuses(TRANSITIONS[name][3]) == effects


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [Event.__doc__, EventView.model_fields["type"].description])
def test_each_type_of_event_is_told_where_events_are_described(text: str) -> None:
    types = {event.type for make in EVERY.values() for event in make().events} | {"created"}
    assert types <= set(re.findall(r"\w+", text))


# --- docs/faults.md ---------------------------------------------------------------------------------------------------

MATRIX = {int(row[0]): CODE.findall(row[3]) for row in read_table("docs/faults.md", "## The matrix")}
ATTACKS = {int(row[0]): CODE.findall(row[2]) for row in read_table("docs/faults.md", "## Attacks")}
NAMED = re.findall(r"`([\w/]+\.py::\w+)`", (ROOT / "docs" / "faults.md").read_text())


def named_tests(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_each_test_that_the_page_on_faults_names_is_there() -> None:
    missing = [named for named in NAMED if not (file := ROOT / "tests" / named.partition("::")[0]).exists()
               or named.partition("::")[2] not in named_tests(file)]
    assert len(NAMED) > 60 and not missing


def test_each_fault_and_attack_has_a_test() -> None:
    assert list(MATRIX) == list(range(1, len(MATRIX) + 1)) and list(ATTACKS) == list(range(1, len(ATTACKS) + 1))
    assert [number for rows in (MATRIX, ATTACKS) for number, held_by in rows.items() if not held_by] == []
    assert {named for rows in (MATRIX, ATTACKS) for held_by in rows.values() for named in held_by} <= set(NAMED)


def test_the_matrix_has_every_test_of_a_row_and_no_other() -> None:
    named = {(number, test) for number, held_by in MATRIX.items() for test in held_by}
    in_code = {(int(name.split("_")[2]), f"faults/{path.name}::{name}")
               for path in (ROOT / "tests" / "faults").glob("test_*.py") for name in named_tests(path)
               if name.startswith("test_row_")}
    assert named == in_code


# --- docs/glossary.md -------------------------------------------------------------------------------------------------

GLOSSARY = [row for heading in re.findall("^## .*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
            for row in read_table("docs/glossary.md", heading)]


def test_each_word_is_explained_once_and_lives_where_the_glossary_says() -> None:
    words = [word for row in GLOSSARY for word in row[0].split(", ")]
    assert len(words) > 35 and len(words) == len(set(words))
    assert [row for row in GLOSSARY if not row[1] or not CODE.findall(row[2])] == []
    assert [place for row in GLOSSARY for place in CODE.findall(row[2]) if not (ROOT / place).exists()] == []


# --- docs/troubleshooting.md ------------------------------------------------------------------------------------------


def test_troubleshooting_has_each_reason_for_which_a_task_waits() -> None:
    rows = {row[0].strip("`") for row in read_table("docs/troubleshooting.md", "## By what `waits_for` says")}
    assert rows == {*get_args(WaitsFor), "null"}


def test_what_troubleshooting_quotes_from_logs_is_logged() -> None:
    """A quoted text of several words is one that a function or a worker logs."""
    quoted = {text for text in CODE.findall((ROOT / "docs" / "troubleshooting.md").read_text())
              if re.fullmatch(r"[a-z']+( [a-z',]+){2,}", text)}
    code = "".join(path.read_text() for piece in ("shared", "worker") for path in (ROOT / piece).rglob("*.py"))
    assert len(quoted) >= 9 and [text for text in sorted(quoted) if text not in code] == []


# --- ARCHITECTURE.md --------------------------------------------------------------------------------------------------


def pieces(piece: str) -> set[str]:
    """A piece's top-level modules and folders, as the map names them: modules without `.py`."""
    tracked = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard", "--", piece], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout
    tops = {name.split("/")[1] for name in tracked.split("\0") if name and (ROOT / name).exists()}
    return {top.removesuffix(".py") for top in tops} - {"__init__"}


@pytest.mark.parametrize("piece", ["shared", "worker", "infra", "tests"])
def test_the_map_names_every_file_and_folder_and_no_other(piece: str) -> None:
    """A file that moves, or a new one, needs its words in the map of ARCHITECTURE.md."""
    named = [name for row in read_table("ARCHITECTURE.md", f"### {piece}/") for name in CODE.findall(row[0])]
    assert len(named) == len(set(named)) and set(named) == pieces(piece)


# --- all documents ----------------------------------------------------------------------------------------------------


def test_each_document_that_is_referred_to_is_in_the_repository() -> None:
    """In documents, code and tests: by its path, in capitals, or as a link."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in tracked.split("\0") if name.endswith((".md", ".py", "Makefile", ".toml", ".yaml"))]
    named = re.compile(r"(?<![\w./-])(docs/[\w.-]+\.md|[A-Z][A-Z.\w-]*\.md)\b|\]\(([\w./-]+\.md)\)")
    referred = {(path, name) for path in paths if path.exists() for names in named.findall(path.read_text())
                for name in names if name}
    missing = [f"{path.relative_to(ROOT)} refers to {name}" for path, name in sorted(referred)
               if not (ROOT / name).exists() and not (path.parent / name).exists()]
    assert len(referred) > 20 and not missing
