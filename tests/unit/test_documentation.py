"""What the documents say of the code is so: the table of transitions, the matrix of faults, the glossary, the map."""
from __future__ import annotations

import inspect
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import transitions
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


# --- ARCHITECTURE.md --------------------------------------------------------------------------------------------------


def pieces(piece: str) -> set[str]:
    """A piece's top-level modules and folders, as the map names them: modules without `.py`."""
    tracked = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard", "--", piece], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout
    tops = {name.split("/")[1] for name in tracked.split("\0") if name and (ROOT / name).exists()}
    return {top.removesuffix(".py") for top in tops} - {"__init__"}


@pytest.mark.parametrize("piece", ["shared", "worker", "infra"])
def test_the_map_names_every_file_and_folder_and_no_other(piece: str) -> None:
    """A file that moves, or a new one, needs its words in the map of ARCHITECTURE.md."""
    named = [name for row in read_table("ARCHITECTURE.md", f"### {piece}/") for name in CODE.findall(row[0])]
    assert len(named) == len(set(named)) and set(named) == pieces(piece)
