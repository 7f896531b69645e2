"""Which files beside a model hold its weights."""
from __future__ import annotations

import mmap
from pathlib import Path

from shared.rules import models as rules
from shared.rules.onnx.tensors import EXTERNAL, TENSOR, int32
from shared.rules.onnx.walk import Graph, Walk
from shared.rules.onnx.wire import BYTES, VARINT, Source
from shared.rules.refusal import Refusal

_SMALL_NODE_BYTES = 512
_ENTRY = {"key": 1, "value": 2}  # of StringStringEntryProto
_LONGEST = 4 * rules.MAX_LOCATION + 1  # bytes, of which a longer text is refused anyway


def read_locations(path: Path) -> list[str]:
    """The external files that the model at `path` names: relative, in their normal form, sorted.

    A later parse meets no file that is no ONNX model, and none with more entries than the limit.

    Raises:
        Refusal: what `Walk.walk` refuses; `external_data_outside` for a name that leads or may lead out of the folder.
    """
    rules.check_size(path.stat().st_size)  # no empty file can be mapped
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            names = _Locations(data, skim=True).read()
        except Refusal:  # perhaps for entries that are not there
            names = _Locations(data, skim=False).read()
    return sorted({rules.check_location(name) for name in names})


class _Locations(Walk):
    """With `skim` a small node that names no file is not entered: it counts as the most entries that it could hold,
    one for two bytes. That is cheap, and nearly always enough."""

    def __init__(self, data: bytes | mmap.mmap, skim: bool) -> None:
        super().__init__(Source.of(data))
        self._data, self._skim = data, skim
        self._names: set[str] = set()

    def read(self) -> set[str]:
        self.walk()
        return self._names

    def node(self, graph: Graph, first: int, last: int, depth: int) -> None:
        if self._skim and last - first <= _SMALL_NODE_BYTES and self._data.find(b"location", first, last) < 0:
            self.count((last - first) // 2)
        else:
            super().node(graph, first, last, depth)

    def tensor(self, owner: str | None, first: int, last: int, graph: Graph | None = None) -> None:
        external, location = False, ""
        for number, kind, inner, end in self.source.fields(first, last):
            if number == TENSOR["data_location"] and kind == VARINT:
                external = int32(inner) == EXTERNAL
            elif number == TENSOR["external_data"] and kind == BYTES:
                key, value = self._entry(inner, end)
                if key == "location":
                    location = value
        if external:
            self._names.add(location)
            if len(self._names) > rules.MAX_EXTERNAL_FILES:
                raise rules.too_many_files(len(self._names))

    def _entry(self, first: int, last: int) -> tuple[str, str]:
        key = value = ""
        for number, kind, inner, end in self.source.fields(first, last):
            if kind == BYTES and number in _ENTRY.values():
                text = self.source.take(inner, min(end - inner, _LONGEST)).decode(errors="replace")
                if number == _ENTRY["key"]:
                    key = text
                else:
                    value = text
        return key, value
