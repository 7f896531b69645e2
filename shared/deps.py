"""What a process has one of: made on first use, kept, and closed together.

The store, the queue and the object store are wired here, by the settings. A module that keeps something else for the
whole process (a pool of threads, a memory of what it has seen) makes it `process_wide`, so that `close_all` knows it.
Imports are inside the functions: most HTTP functions need the store only, and their cold start counts.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from shared.settings import get_settings

if TYPE_CHECKING:
    from shared.files import Files
    from shared.files.grants import Grants
    from shared.queue import Queue
    from shared.store import Store


class Closable(Protocol):
    def close(self) -> None: ...


Kept = TypeVar("Kept", bound=Closable)

_KEPT: list[Any] = []  # the getters, in the order in which they were declared: later ones use earlier ones


def process_wide(make: Callable[[], Kept]) -> Callable[[], Kept]:
    """A function that answers the process's only one. `make` makes it at the first call."""
    get = lru_cache(maxsize=1)(make)
    _KEPT.append(get)
    return get


@process_wide
def get_store() -> Store:
    from shared.store import open_store

    settings = get_settings()
    return open_store(settings.store_url.get_secret_value(), settings.dependency_timeout_s, settings.tls)


@process_wide
def get_files() -> Files:
    from shared.files import open_files

    settings = get_settings()
    store = open_files(settings.files_url.get_secret_value(), settings.dependency_timeout_s, settings.tls)
    if not settings.local_roots:
        return store
    from shared.files.routed import RoutedFiles
    return RoutedFiles(store, settings.local_roots)


@process_wide
def get_grants() -> Grants:
    from shared.files.grants import open_grants

    settings = get_settings()
    return open_grants(settings.files_url.get_secret_value(), settings.dependency_timeout_s,
                       settings.files_public_url, settings.upload_secret, settings.tls)


@process_wide
def get_queue() -> Queue:
    from shared.queue import open_queue

    settings = get_settings()
    return open_queue(settings.queue_url.get_secret_value(), get_store,
                      timeout_s=settings.dependency_timeout_s, poll_s=settings.poll_s, tls=settings.tls)


def close_all() -> None:
    """Close what was made and forget it, settings included: the next use starts afresh. For tests and shutdown."""
    for get in reversed(_KEPT):
        if get.cache_info().currsize:
            get().close()
        get.cache_clear()
    get_settings.cache_clear()
