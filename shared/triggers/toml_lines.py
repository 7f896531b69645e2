"""On which line of a TOML file a value stands: `tomllib` tells it of broken syntax only."""
from __future__ import annotations

import re
from collections import Counter

Place = tuple[str | int, ...]  # as pydantic names a field: ("rule", 1, "target", "platform")

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_TABLE = re.compile(rf"^\s*(\[\[?)\s*({_DOTTED})\s*\]\]?")
_KEY = re.compile(rf"^\s*({_DOTTED})\s*=")
_LONG = re.compile(r'"""|' + "'''")


def find_line(text: str, place: Place) -> int:
    """The line, counted from 1, of the value at `place`, or else of the innermost of what holds it."""
    lines = _lines(text)
    return next((lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines), 1)


def _lines(text: str) -> dict[Place, int]:
    """`{place: line}` of all tables and keys that begin a line."""
    found: dict[Place, int] = {}
    table: Place = ()
    counts: Counter[Place] = Counter()
    until: str | None = None  # what ends the long string that we are in
    for number, line in enumerate(text.splitlines(), start=1):
        if until is not None:
            until = None if until in line else until
            continue
        if header := _TABLE.match(line):
            table = _place(header[2], counts)
            if header[1] == "[[":
                counts[table] += 1
                table = (*table, counts[table] - 1)
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            place = (*table, *_parts(key[1]))
            for end in range(len(table) + 1, len(place) + 1):
                found.setdefault(place[:end], number)
        marks = _LONG.findall(line)
        until = marks[-1] if len(marks) % 2 else None
    return found


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, dotted)]


def _place(dotted: str, counts: Counter[Place]) -> Place:
    """A header's place: below an array of tables it means the array's last one."""
    place: Place = ()
    parts = _parts(dotted)
    for index, part in enumerate(parts):
        place = (*place, part)
        if index < len(parts) - 1 and counts[place]:
            place = (*place, counts[place] - 1)
    return place
