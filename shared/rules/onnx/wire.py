"""Protobuf's wire format over byte ranges: fields are found, and skipped, without reading what they hold.

Source: Protocol bytes | mmap.mmaps documentation, "Encoding".
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from shared.rules import models as rules
from shared.rules.onnx.bounds import MAX_READ_BYTES, MAX_TEXT_BYTES, Incomplete
from shared.rules.reasons import outline as reasons

if TYPE_CHECKING:
    import mmap

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_AFTER_A_JUMP = 8 << 10
_LARGEST = 256 << 10
_VARINT_BYTES = 10

Ask = Callable[[int, int], bytes]  # (start, length) -> as many of these bytes as there are


class Malformed(Exception):
    """No protobuf: a field runs past its message, or is of no known kind."""


class Source:
    """An object of `size` bytes, of which a window is in memory. Reading on widens the window, a jump narrows it."""

    def __init__(self, ask: Ask, size: int) -> None:
        self._ask, self.size = ask, size
        self._data: bytes | mmap.mmap = b""
        self._base, self._block, self._left, self._fields = 0, _AFTER_A_JUMP, MAX_READ_BYTES, 0

    @classmethod
    def of(cls, data: bytes | mmap.mmap) -> Source:
        """An object that is in memory, or mapped, as a whole."""
        source = cls(lambda start, length: data[start:start + length], len(data))
        source._data = data
        return source

    def take(self, start: int, length: int) -> bytes:
        """Raises Malformed where the object ends before; Incomplete."""
        if start + length > self.size:
            raise Malformed
        index = start - self._base
        if index < 0 or index + length > len(self._data):
            index = self._load(start, length)
        return self._data[index:index + length]

    def _load(self, start: int, length: int) -> int:
        """Move the window so that it holds these bytes, as far as there are; where `start` is in it."""
        reads_on = self._base <= start <= self._base + len(self._data)
        self._block = min(4 * self._block, _LARGEST) if reads_on and self._data else _AFTER_A_JUMP
        wanted = min(max(length, self._block), self.size - start)
        if wanted <= 0:
            raise Malformed
        self._left -= wanted
        if self._left < 0:
            raise Incomplete(reasons.OUTLINE_TOO_LARGE(mib=MAX_READ_BYTES >> 20))
        self._data, self._base = self._ask(start, wanted), start
        if len(self._data) != wanted:
            raise Incomplete(reasons.WRITTEN)
        return 0

    def varint(self, position: int, end: int) -> tuple[int, int]:
        """`(value, where it ends)`: 64 bits, unsigned."""
        index = position - self._base
        if index < 0 or (index + _VARINT_BYTES > len(self._data) and self._base + len(self._data) < self.size):
            index = self._load(position, _VARINT_BYTES)
        data, value, shift = self._data, 0, 0
        limit = min(len(data), index + min(_VARINT_BYTES, end - position))
        for at in range(index, limit):
            byte = data[at]
            value |= (byte & 127) << shift
            if byte < 128:
                return value & (1 << 64) - 1, position + at - index + 1
            shift += 7
        raise Malformed

    def fields(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """`(number, kind, first, last)` of a message's fields: `first` is a varint's value, else the content is the
        bytes from `first` to `last`.

        Raises:
            Malformed, Incomplete. Refusal: `model_too_complex`.
        """
        position = start
        while position < end:
            self._fields += 1
            if self._fields > rules.MAX_FIELDS:
                raise rules.too_many_fields()
            index = position - self._base
            if 0 <= index < len(self._data) - 1:  # most fields have a key and a length of one byte each
                key, length = self._data[index], self._data[index + 1]
                if key & 0x87 == BYTES and length < 128 and key > BYTES:
                    first = position + 2
                    position = first + length
                    if position > end:
                        raise Malformed
                    yield key >> 3, BYTES, first, position
                    continue
            key, position = self.varint(position, end)
            number, kind = key >> 3, key & 7
            if kind == BYTES:
                length, first = self.varint(position, end)
                position = last = first + length
            elif kind == VARINT:
                first, position = self.varint(position, end)
                last = first
            elif kind in (FIXED64, FIXED32):
                first, position = position, position + (8 if kind == FIXED64 else 4)
                last = position
            else:
                raise Malformed
            if position > end or not 0 < number < 1 << 29:
                raise Malformed
            yield number, kind, first, last

    def text(self, first: int, last: int) -> str:
        """Raises Refusal: `model_invalid`; Incomplete."""
        if last - first > MAX_TEXT_BYTES:
            raise Incomplete(reasons.NAME_TOO_LONG(limit=MAX_TEXT_BYTES))
        data = self.take(first, last - first)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise rules.not_text(data) from error

    def integers(self, kind: int, first: int, last: int) -> list[int]:
        """Signed 64-bit values of a repeated field, packed or single."""
        if kind == VARINT:
            return [signed(first)]
        if last - first > MAX_TEXT_BYTES:
            raise Incomplete(reasons.SHAPE_TOO_LONG(limit=MAX_TEXT_BYTES))
        values = []
        while first < last:
            value, first = self.varint(first, last)
            values.append(signed(value))
        return values


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
