"""Thousands of damaged models, the same ones each time: each is read or refused with a code of the catalogue, and what
that costs is in proportion to the file's size."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from google.protobuf.message import Message

from shared.preflight.judge import judge_model
from shared.preflight.limits import MAX_RANGE_BYTES
from shared.rules import models as rules
from shared.rules.onnx.bounds import Incomplete
from shared.rules.onnx.facts import read_facts
from shared.rules.onnx.locations import read_locations
from shared.rules.onnx.wire import Ask, Source
from shared.rules.refusal import Refusal
from tests import models
from tests.fixtures.preflight import as_bytes

MUTANTS = 3000
TIMES_ITS_BYTES = 4  # so many fields are met at most, of which each takes two; a function's are met twice
WHOLE = [models.convolution(), models.nested(3), models.laughs(3), models.embedding(), models.pair(), models.ratio(),
         models.filled(2, 3), models.claims([1 << 40, 2]), models.unary("Gelu", domain="com.microsoft")]
BYTES = [as_bytes(model) for model in WHOLE]
CHANGES = ("bit", "byte", "cut", "insert", "double", "end", "varint", "append", "group", "unknown")
NUMBERS = (0, 1, -1, 7, 16, 99, 2**31 - 1, 1 << 62, -(1 << 63))
TEXTS = ("", "x", "y", "If", "Loop", "location", "../w.bin", "é" * 40, "n" * 5000)


def damage(chance: random.Random, data: bytes) -> bytes:
    """Bytes that were changed, cut, doubled, moved in from another model."""
    made = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        at, length = chance.randrange(len(made) + 1), chance.choice([1, 2, 9, 60, 400])
        change = chance.choice(CHANGES)
        if change == "bit" and at < len(made):
            made[at] ^= 1 << chance.randrange(8)
        elif change == "byte" and at < len(made):
            made[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        elif change == "cut":
            del made[at:at + length]
        elif change == "insert":
            made[at:at] = chance.randbytes(chance.choice([1, 2, 4]))
        elif change == "double":
            made[at:at] = made[at:at + length]
        elif change == "end":
            del made[at:]
        elif change == "varint":
            made[at:at] = b"\xff" * chance.choice([5, 9, 10, 11]) + b"\x01"
        elif change == "append":
            other = chance.choice(BYTES)
            made += other[:chance.choice([len(other), chance.randrange(len(other))])]
        elif change == "group":
            made[at:at] = chance.choice([b"\x0b\x0c", b"\x0b" * 40, b"\x0c"])
        else:
            made[at:at] = chance.choice([b"\xfa\x3f\x02ab", b"\xf8\x3f\x05", b"\xf9\x3f" + bytes(8)])
    return bytes(made)


def rebuild(chance: random.Random, model: onnx.ModelProto) -> bytes:
    """A whole protobuf in which fields are missing, doubled or hold something else."""
    made = onnx.ModelProto.FromString(as_bytes(model))
    for _ in range(chance.choice([1, 2, 3])):
        _change_fields(chance, made)
    return made.SerializeToString()


def _change_fields(chance: random.Random, message: Message) -> None:
    for field, value in message.ListFields():
        several = isinstance(value, list) or hasattr(value, "append")
        if chance.random() < 0.03:
            if several and field.message_type and chance.random() < 0.5:
                value.add().CopyFrom(value[chance.randrange(len(value))])
            elif several and field.cpp_type == field.CPPTYPE_INT64:
                value.extend(chance.choice([[chance.choice(NUMBERS)], [1 << 62] * 300]))
            else:
                message.ClearField(field.name)
        elif field.message_type:
            for inner in value if several else [value]:
                _change_fields(chance, inner)
        elif not several and chance.random() < 0.05:
            if field.cpp_type == field.CPPTYPE_INT64:
                setattr(message, field.name, chance.choice(NUMBERS))
            elif field.type == field.TYPE_STRING:
                setattr(message, field.name, chance.choice(TEXTS))
            elif field.type == field.TYPE_BYTES:
                setattr(message, field.name, chance.randbytes(chance.randrange(9)))


def mutants(seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [damage(chance, chance.choice(BYTES)) if number % 2 else rebuild(chance, chance.choice(WHOLE))
            for number in range(MUTANTS)]


@pytest.fixture
def fields(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many fields were met."""
    met: Counter[str] = Counter()
    real = Source.fields

    def counted(self: Source, start: int, end: int) -> object:
        for found in real(self, start, end):
            met["fields"] += 1
            yield found

    monkeypatch.setattr(Source, "fields", counted)
    return met


def asking(data: bytes, asked: Counter[str]) -> Ask:
    def ask(start: int, length: int) -> bytes:
        assert 0 <= start < len(data) and 0 < length <= MAX_RANGE_BYTES, "the parent gives no other range"
        asked["bytes"] += length
        return data[start:start + length]

    return ask


def outcome(read: Callable[[], object]) -> str:
    """Anything else than these is an error of the test."""
    try:
        read()
    except Refusal as refusal:
        assert refusal.message and refusal.message_zh and refusal.hint and refusal.hint_zh
        return refusal.code
    except Incomplete as error:
        assert error.text.zh and error.text.en
        return "incomplete"
    return "read"


def test_the_preflight_reads_or_refuses_each(fields: Counter[str]) -> None:
    outcomes: Counter[str] = Counter()
    for data in mutants(seed=1):
        asked: Counter[str] = Counter()
        fields.clear()
        outcomes[outcome(lambda data=data, asked=asked: list(judge_model(
            read_facts(asking(data, asked), len(data)))))] += 1
        assert fields["fields"] <= TIMES_ITS_BYTES * len(data)
        assert asked["bytes"] <= (1 << 16) + TIMES_ITS_BYTES * len(data)
    assert min(outcomes[code] for code in ("read", "model_unreadable", "model_not_onnx", "incomplete")) > 0
    assert outcomes["model_invalid"] + outcomes["tensor_too_large"] + outcomes["read"] > MUTANTS // 10


def test_fetch_reads_or_refuses_each_and_names_no_file_outside(tmp_path: Path, fields: Counter[str]) -> None:
    outcomes: Counter[str] = Counter()
    path = tmp_path / "model.onnx"
    named: set[str] = set()
    for data in mutants(seed=2):
        path.write_bytes(data)
        fields.clear()
        outcomes[outcome(lambda: named.update(read_locations(path)))] += 1
        assert fields["fields"] <= TIMES_ITS_BYTES * len(data)
    assert outcomes["read"] > MUTANTS // 10 and outcomes["incomplete"] == 0
    assert all(rules.check_location(location) == location for location in named)


@pytest.mark.parametrize("model", WHOLE[:3], ids=["convolution", "nested", "functions"])
def test_a_model_that_is_cut_anywhere_is_no_model_or_refused(model: onnx.ModelProto) -> None:
    """Also right after a tag, where a length would follow: the object has no byte there that could be asked for."""
    data = as_bytes(model)
    for size in range(1, len(data)):
        told = outcome(lambda size=size: read_facts(asking(data[:size], Counter()), size))
        assert told in ("read", "model_unreadable", "model_not_onnx")
