"""The external data that an uploaded model names, and which models wait for theirs.

A model is mostly uploaded before its data, for its name sorts first or since it is smaller. Its conversion begins once
all is there. Until then a small object in the cache bucket, `triggers/waiting/<hash of the data's path>/<hash of the
model's>`, leads from the data to the model, so that the upload of the last file starts what waits for it. The sweep
looks at waiting models as well.
"""
from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable

from shared.cached.notices import put_json
from shared.deadlines import ending_at
from shared.errors import AppError, NotFound
from shared.files import FileInfo, Files
from shared.preflight.headers import get_headers
from shared.rules.models import check_location
from shared.rules.onnx.bounds import Incomplete
from shared.rules.refusal import Refusal
from shared.settings import Settings

MAX_COMPANIONS = 64  # that are looked for; a model may name thousands, of which each may be missing
WHOLE_BYTES = 4 << 20  # of a model that is looked through instead of parsed
MARKER = b"location"  # what external data's entry is called in every model that has some
READ_S = 5.0
MAX_RECORD_BYTES = 16 << 10

logger = logging.getLogger(__name__)


def missing_companions(model: FileInfo, files: Files) -> list[str]:
    """Paths of external data that is not there. A model that cannot be read misses none: its task says what is wrong.

    Raises:
        Unavailable.
    """
    try:
        if model.size_bytes <= WHOLE_BYTES:
            _, content = files.read_range(model.path, 0, WHOLE_BYTES)
            if MARKER not in content:
                return []
        deadline = time.monotonic() + READ_S
        with ending_at(deadline):
            facts = get_headers().read(model, files, deadline)
        locations = sorted({check_location(location) for location, _, _ in facts["external"]})
    except (Refusal, Incomplete, NotFound):
        return []
    except AppError as error:
        if error.status == 503 and getattr(error, "dependency", None):
            raise
        logger.info("%s was not looked at for external data: %s", model.path, error)
        return []
    folder = model.path.rpartition("/")[0]
    paths = [f"{folder}/{location}" for location in locations[:MAX_COMPANIONS]]
    return [path for path in paths if files.stat(path) is None]


def note_waiting(files: Files, settings: Settings, model: str, companions: Iterable[str]) -> None:
    """Raises Unavailable."""
    for path in companions:
        record = _record(settings, path, model)
        if files.stat(record) is None:
            put_json(files, record, {"model": model, "waits_for": path})


def forget_waiting(files: Files, settings: Settings, model: str, companion: str) -> None:
    """Raises Unavailable."""
    files.delete(_record(settings, companion, model))


def waiting_for(files: Files, settings: Settings, companion: str) -> list[str]:
    """The models that wait for this object.

    Raises:
        Unavailable.
    """
    found = []
    for info in files.find(f"{folder(settings)}{_digest(companion)}/"):
        if record := read_record(files, info):
            found.append(record["model"])
    return found


def read_record(files: Files, info: FileInfo) -> dict[str, str] | None:
    """Raises Unavailable."""
    try:
        record = json.loads(files.read_range(info.path, 0, MAX_RECORD_BYTES)[1])
    except (NotFound, ValueError):
        return None
    named = isinstance(record, dict) and all(isinstance(record.get(name), str) for name in ("model", "waits_for"))
    return record if named else None


def folder(settings: Settings) -> str:
    return f"{settings.cache_bucket}/triggers/waiting/"


def _record(settings: Settings, companion: str, model: str) -> str:
    return f"{folder(settings)}{_digest(companion)}/{_digest(model)}.json"


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()
