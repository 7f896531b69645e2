"""A key's text: its form, its checksum, and what is stored of it."""
from __future__ import annotations

import hashlib
import string
import zlib

import pytest

from shared.access.key_text import digest_of, is_key_text, new_key_text

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def number_of(text: str) -> int:
    number = 0
    for char in text:
        number = number * 62 + BASE62.index(char)
    return number


def test_a_key_has_a_prefix_256_bits_and_a_checksum_in_base62() -> None:
    text = new_key_text()
    assert text.startswith("mc_") and len(text) == 3 + 43 + 6
    assert 0 <= number_of(text[3:46]) < 2**256
    assert number_of(text[46:]) == zlib.crc32(text[:46].encode())
    assert is_key_text(text)


def test_keys_use_all_of_their_bits() -> None:
    numbers = [number_of(new_key_text()[3:46]) for _ in range(64)]
    assert len(set(numbers)) == 64
    assert all(any(number >> bit & 1 for number in numbers) for bit in range(256))


def test_every_typing_error_of_one_character_is_noticed() -> None:
    text = new_key_text()
    for place in range(len(text)):
        other = "a" if text[place] != "a" else "b"
        assert not is_key_text(text[:place] + other + text[place + 1:]), place


@pytest.mark.parametrize("text", ["", "mc_", "mc_" + "0" * 49, "MC_" + "0" * 43 + "000000", "模型" * 26])
def test_what_was_never_a_key_is_none(text: str) -> None:
    assert not is_key_text(text)


@pytest.mark.parametrize("change", [lambda text: text + "\n", lambda text: " " + text, lambda text: text[:-1],
                                    lambda text: text.upper(), lambda text: text + text])
def test_nothing_may_stand_around_a_key(change) -> None:
    assert not is_key_text(change(new_key_text()))


def test_what_is_stored_is_the_keys_sha256() -> None:
    text = new_key_text()
    assert digest_of(text) == hashlib.sha256(text.encode()).hexdigest()
