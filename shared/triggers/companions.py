"""The external data of uploaded models: which files a model needs, and which models an uploaded file belongs to.

A model is mostly uploaded before its data, for it is the smaller file. Its conversion begins once all of the data is
there, and again when a file of it is replaced. A small object in the cache bucket,
`triggers/data/<hash of the file's path>/<hash of the model's>`, leads from each file to the model. It is written before
the files are looked for. So of two doors, of which one takes the model and the other its last file, one sees both.

The files are a part of the task's key, and a busy machine may not read the model's header in time. So what was read of
a version of a model is agreed on: the first door writes it to `triggers/outlines/<hash>.json`, and all others take it
from there. A door that cannot read the header leaves the model to the sweep, which has more time. Where that cannot
read it either, it is agreed that the model has no files of its own, and fetch finds out.
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
from shared.errors import Busy, NotFound, PreconditionFailed
from shared.files import FileInfo, Files, IfAbsent
from shared.preflight import reasons as checks
from shared.preflight.headers import get_headers
from shared.rules.models import check_location
from shared.rules.onnx.bounds import Incomplete
from shared.rules.reasons import outline
from shared.rules.refusal import Refusal
from shared.settings import Settings

MAX_COMPANIONS = 64  # that are looked for; fetch looks for all
WHOLE_BYTES = 4 << 20  # of a model that is looked through before it is parsed
MARKER = b"location"  # what the entry is called that names a file, in every model that has some
READ_S, PATIENT_S = 5.0, 30.0  # for a header
MAX_RECORD_BYTES = 256 << 10  # the names of all files of a model
AT_ONCE = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Companions:
    """`versions` are the etags of the files that are there, by path; `missing` those that are not, or too short."""

    versions: dict[str, str]
    missing: list[str]


NONE = Companions({}, [])


class Replaced(Exception):
    """Another version of the model is there by now, or none."""


class NotRead(Exception):
    """The machine was too busy to read the model's header in time."""


def find_companions(model: FileInfo, files: Files, settings: Settings, content: bytes | None = None, *,
                    patient: bool = False) -> Companions:
    """A model that cannot be read has none here: its task says what is wrong with it. `content` is what is known of it
    already: its first `WHOLE_BYTES`. `patient`: nobody waits, and nobody looks again.

    Raises:
        Replaced.
        NotRead: never, if `patient`.
        Unavailable.
    """
    ends = _read_ends(model, files, settings, content, patient)
    if not ends:
        return NONE
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda path: _note(files, settings, path, model.path), ends))
        found = dict(zip(ends, pool.map(files.stat, ends), strict=True))
    # A file that is shorter than the model says is still being written, or is an earlier one.
    missing = [path for path, info in found.items() if info is None or info.size_bytes < ends[path]]
    return Companions({path: info.etag for path, info in found.items() if info}, missing)


def _read_ends(model: FileInfo, files: Files, settings: Settings, content: bytes | None, patient: bool
               ) -> dict[str, int]:
    """`{path: the bytes that it has at least}`, the same for every door."""
    try:
        if model.size_bytes <= WHOLE_BYTES:
            if content is None:
                now, content = files.read_range(model.path, 0, WHOLE_BYTES)
                if now.etag != model.etag:
                    raise Replaced
            if MARKER not in content:
                return {}
        deadline = time.monotonic() + (PATIENT_S if patient else READ_S)
        with ending_at(deadline):
            external = get_headers().read(model, files, deadline)["external"]
        folder = model.path.rpartition("/")[0]
        ends = {f"{folder}/{check_location(location)}": end for location, end, _ in external[:MAX_COMPANIONS]}
    except NotFound as error:
        raise Replaced from error
    except Refusal:
        return {}
    except (Incomplete, Busy) as error:
        if isinstance(error, Incomplete) and error.text in (outline.WRITTEN, checks.REMOVED):
            raise Replaced from error
        logger.info("%s was not looked at for external data: %s", model.path, error)
        is_busy = isinstance(error, Busy) or error.text in (checks.TOO_SLOW, checks.TOO_EXPENSIVE)
        agreed = _agreed(model, files, settings)
        if agreed is None and is_busy and not patient:
            raise NotRead from error
        return _agree(model, files, settings, {}) if agreed is None else agreed
    return _agree(model, files, settings, ends) if ends else {}


def _agree(model: FileInfo, files: Files, settings: Settings, ends: dict[str, int]) -> dict[str, int]:
    """What all doors go by: these ends, or what another door has written before."""
    agreed = _agreed(model, files, settings)
    if agreed is not None:
        return agreed
    try:
        put_json(files, _outline(settings, model), {"model": model.path, "etag": model.etag, "ends": ends}, IfAbsent())
    except PreconditionFailed:
        agreed = _agreed(model, files, settings)
    return ends if agreed is None else agreed


def _agreed(model: FileInfo, files: Files, settings: Settings) -> dict[str, int] | None:
    try:
        return json.loads(files.read_range(_outline(settings, model), 0, MAX_RECORD_BYTES)[1])["ends"]
    except NotFound:
        return None


def _outline(settings: Settings, model: FileInfo) -> str:
    return f"{outlines(settings)}{digest_of(f'{model.path} {model.etag}')}.json"


def outlines(settings: Settings) -> str:
    return f"{settings.cache_bucket}/triggers/outlines/"


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
