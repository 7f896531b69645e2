"""The external data of uploaded models: which files a model needs, and which models an uploaded file belongs to.

A model is mostly uploaded before its data, for it is the smaller file. Its conversion begins once all of the data is
there, and again when a file of it is replaced. A small object in the cache bucket,
`triggers/data/<hash of the file's path>/<hash of the model's>`, leads from each file to the model. It is written before
the files are looked for. So of two doors, of which one takes the model and the other its last file, one sees both.
"""
from __future__ import annotations

import hashlib
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shared.cached.notices import put_json
from shared.deadlines import ending_at
from shared.errors import Busy, NotFound
from shared.files import FileInfo, Files
from shared.preflight.headers import get_headers
from shared.rules.models import check_location
from shared.rules.onnx.bounds import Incomplete
from shared.rules.refusal import Refusal
from shared.settings import Settings

MAX_COMPANIONS = 64  # that are looked for; fetch looks for all
WHOLE_BYTES = 4 << 20  # of a model that is looked through before it is parsed
MARKER = b"location"  # what the entry is called that names a file, in every model that has some
READ_S = 5.0
MAX_RECORD_BYTES = 16 << 10
AT_ONCE = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Companions:
    """`versions` are the etags of the files that are there, by path; `missing` those that are not, or too short."""

    versions: dict[str, str]
    missing: list[str]


NONE = Companions({}, [])


def find_companions(model: FileInfo, files: Files, settings: Settings, content: bytes | None = None) -> Companions:
    """A model that cannot be read has none here: its task says what is wrong with it. `content` is what is known of it
    already: its first `WHOLE_BYTES`.

    Raises:
        Unavailable.
    """
    ends = _read_ends(model, files, content)
    if not ends:
        return NONE
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda path: _note(files, settings, path, model.path), ends))
        found = dict(zip(ends, pool.map(files.stat, ends), strict=True))
    # A file that is shorter than the model says is still being written, or is an earlier one.
    missing = [path for path, info in found.items() if info is None or info.size_bytes < ends[path]]
    return Companions({path: info.etag for path, info in found.items() if info}, missing)


def _read_ends(model: FileInfo, files: Files, content: bytes | None) -> dict[str, int]:
    """`{path: the bytes that it has at least}`."""
    try:
        if model.size_bytes <= WHOLE_BYTES:
            if content is None:
                _, content = files.read_range(model.path, 0, WHOLE_BYTES)
            if MARKER not in content:
                return {}
        deadline = time.monotonic() + READ_S
        with ending_at(deadline):
            external = get_headers().read(model, files, deadline)["external"]
        folder = model.path.rpartition("/")[0]
        return {f"{folder}/{check_location(location)}": end for location, end, _ in external[:MAX_COMPANIONS]}
    except (Refusal, Incomplete, NotFound):
        return {}
    except Busy as error:
        logger.info("%s was not looked at for external data: %s", model.path, error)
        return {}


def models_with(files: Files, settings: Settings, companion: str) -> list[str]:
    """The models that are known to need this file.

    Raises:
        Unavailable.
    """
    records = [read_record(files, info) for info in files.find(f"{folder(settings)}{digest_of(companion)}/")]
    return [record["model"] for record in records if record]


def known_digests(files: Files, settings: Settings) -> set[str]:
    """`digest_of` all files that models are known to need, by one listing.

    Raises:
        Unavailable.
    """
    return {info.path.split("/")[-2] for info in files.find(folder(settings))}


def read_record(files: Files, info: FileInfo) -> dict[str, Any] | None:
    """Raises Unavailable."""
    try:
        record = json.loads(files.read_range(info.path, 0, MAX_RECORD_BYTES)[1])
    except (NotFound, ValueError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("model"), str) else None


def folder(settings: Settings) -> str:
    return f"{settings.cache_bucket}/triggers/data/"


def digest_of(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()


def _note(files: Files, settings: Settings, companion: str, model: str) -> None:
    record = f"{folder(settings)}{digest_of(companion)}/{digest_of(model)}.json"
    if files.stat(record) is None:
        put_json(files, record, {"model": model, "needs": companion})
