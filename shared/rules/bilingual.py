"""Texts in Chinese and English. Whatever a client reads is whole in one of them.

The templates stand in catalogues, the modules called `reasons`. Code fills a template by its parameters' names, and the
result holds both languages: who shows it chooses one. Names, paths and a tool's own words are parameters; they stay as
they are. Standard library only, Python 3.8+.
"""
from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# Where an object lies in memory, as Python and vendors' tools print it: in an object's name, and by itself.
_AT_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=>)")
_ADDRESS = re.compile(r"\b0x[0-9A-Fa-f]{9,16}\b")


@dataclass(frozen=True)
class Bilingual:
    """One text in both languages."""

    zh: str
    en: str

    def __str__(self) -> str:
        return self.en

    def cut(self, limit: int) -> Bilingual:
        """At most `limit` characters of it."""
        return Bilingual(self.zh[:limit], self.en[:limit])


NOTHING = Bilingual("", "")


class Template:
    """A text with named parameters, `{name}` as in `str.format`. Called with them it is filled."""

    def __init__(self, zh: str, en: str) -> None:
        self.zh = zh
        self.en = en

    def __call__(self, **parameters: Any) -> Bilingual:
        return Bilingual(self.zh.format(**{name: _in_chinese(value) for name, value in parameters.items()}),
                         self.en.format(**{name: _in_english(value) for name, value in parameters.items()}))


def as_it_is(text: object) -> Bilingual:
    """What has no language of ours: a name, a number, a tool's own words."""
    return Bilingual(str(text), str(text))


def without_addresses(text: str) -> str:
    """The text without addresses in a process's memory: they tell a client nothing, and differ each time."""
    return _ADDRESS.sub("0x…", _AT_ADDRESS.sub("", text)) if "0x" in text else text


def join(separator: str, parts: Iterable[Bilingual]) -> Bilingual:
    found = list(parts)
    return Bilingual(separator.join(part.zh for part in found), separator.join(part.en for part in found))


def _in_chinese(value: Any) -> Any:
    return value.zh if isinstance(value, Bilingual) else value


def _in_english(value: Any) -> Any:
    return value.en if isinstance(value, Bilingual) else value
