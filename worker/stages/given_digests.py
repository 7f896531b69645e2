"""Whether what was fetched is what the client has announced: the SHA-256 of POST /uploads."""
from __future__ import annotations

from pydantic import ValidationError

from shared.errors import ConversionFailed
from shared.files import Files
from shared.uploads.records import given_digests
from worker.stages import reasons


def read_digests(files: Files, path: str) -> dict[str, str]:
    """The digests that were given for the files of the upload that `path` belongs to, by path. None for what came
    otherwise.

    Raises:
        ConversionFailed: `input_digest_mismatch`: what was announced cannot be read any more.
        Unavailable.
    """
    try:
        return given_digests(files, path)
    except ValidationError as error:
        raise ConversionFailed(reasons.RECORD_UNREADABLE(path=path)) from error


def check_digest(given: dict[str, str], path: str, found: str) -> None:
    """`found` is the digest of what was fetched.

    Raises:
        ConversionFailed: `input_digest_mismatch`.
    """
    wanted = given.get(path)
    if wanted not in (None, found):
        raise ConversionFailed(reasons.OTHER_DIGEST(path=path, wanted=wanted, found=found))
