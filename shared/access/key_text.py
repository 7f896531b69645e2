"""A key as clients show it: `mc_`, 256 random bits, and a checksum, so that a mistyped or a leaked one is recognised.

The body is base62, which a double click selects whole and no URL escapes. The last six characters are the CRC32 of all
before them: what fails it was never a key, and costs no look into the store.
"""
from __future__ import annotations

import hashlib
import re
import secrets
import zlib

PREFIX = "mc_"
RANDOM_BYTES = 32
BODY_CHARS = 43  # 62**43 > 2**256
CHECKSUM_CHARS = 6  # 62**6 > 2**32

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM = re.compile(f"{PREFIX}[0-9A-Za-z]{{{BODY_CHARS + CHECKSUM_CHARS}}}")


def new_key_text() -> str:
    """A new key. Nobody can read it again from what is stored of it."""
    body = PREFIX + _base62(int.from_bytes(secrets.token_bytes(RANDOM_BYTES)), BODY_CHARS)
    return body + _checksum(body)


def is_key_text(text: str) -> bool:
    """Whether the text has a key's form, checksum included."""
    return _FORM.fullmatch(text) is not None and _checksum(text[:-CHECKSUM_CHARS]) == text[-CHECKSUM_CHARS:]


def digest_of(text: str) -> str:
    """What is stored of a key: its SHA-256. Of 256 random bits a slow hash would protect no better."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_CHARS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
