"""The one place where things are wired: what a process has one of is made on first use here and kept.

Imports are inside the functions: most HTTP functions need the store only, and their cold start counts.
"""
from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from shared.settings import get_settings

if TYPE_CHECKING:
    from shared.api.event_stream import Streams
    from shared.api.validation import CheckPlaces
    from shared.doorbells import DoorbellMarker
    from shared.files import Files
    from shared.preflight.admission import Admission
    from shared.preflight.headers import Headers
    from shared.queue import Queue
    from shared.store import Store


@lru_cache(maxsize=1)
def get_store() -> Store:
    from shared.store import open_store

    settings = get_settings()
    return open_store(settings.store_url.get_secret_value(), settings.dependency_timeout_s)


@lru_cache(maxsize=1)
def get_queue() -> Queue:
    from shared.queue import open_queue

    settings = get_settings()
    return open_queue(settings.queue_url.get_secret_value(), get_store,
                      timeout_s=settings.dependency_timeout_s, poll_s=settings.poll_s)


@lru_cache(maxsize=1)
def get_files() -> Files:
    from shared.files import open_files

    settings = get_settings()
    store = open_files(settings.files_url.get_secret_value(), settings.dependency_timeout_s)
    if not settings.local_roots:
        return store
    from shared.files.routed import RoutedFiles
    return RoutedFiles(store, settings.local_roots)


@lru_cache(maxsize=1)
def get_doorbell_marker() -> DoorbellMarker:
    from shared.doorbells import DoorbellMarker

    return DoorbellMarker()


@lru_cache(maxsize=1)
def get_admission() -> Admission:
    from shared.preflight.admission import Admission

    return Admission()


@lru_cache(maxsize=1)
def get_headers() -> Headers:
    from shared.preflight.headers import Headers

    return Headers()


@lru_cache(maxsize=1)
def get_check_places() -> CheckPlaces:
    from shared.api.validation import CheckPlaces

    return CheckPlaces()


@lru_cache(maxsize=1)
def get_streams() -> Streams:
    from shared.api.event_stream import Streams

    return Streams()


# Those that use others come first.
_MADE = (get_streams, get_admission, get_check_places, get_headers, get_doorbell_marker, get_queue, get_store,
         get_files)


def close_all() -> None:
    """Close what was opened and forget it, settings included: the next use starts afresh. For tests and shutdown."""
    for get in _MADE:
        if get.cache_info().currsize:
            get().close()
        get.cache_clear()
    get_settings.cache_clear()
