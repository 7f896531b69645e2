"""The one place where things are wired: each client is made on first use and kept for the process."""
from __future__ import annotations

from functools import lru_cache

from shared.files import Files, open_files
from shared.queue import Queue, open_queue
from shared.settings import get_settings
from shared.store import Store, open_store


@lru_cache(maxsize=1)
def get_store() -> Store:
    settings = get_settings()
    return open_store(settings.store_url.get_secret_value(), settings.dependency_timeout_s)


@lru_cache(maxsize=1)
def get_queue() -> Queue:
    settings = get_settings()
    return open_queue(settings.queue_url.get_secret_value(), get_store,
                      timeout_s=settings.dependency_timeout_s, poll_s=settings.poll_s)


@lru_cache(maxsize=1)
def get_files() -> Files:
    settings = get_settings()
    return open_files(settings.files_url.get_secret_value(), settings.dependency_timeout_s)


def close_all() -> None:
    """Close what was opened and forget it, settings included: the next use starts afresh. For tests and shutdown."""
    for get in (get_queue, get_store, get_files):
        if get.cache_info().currsize:
            get().close()
        get.cache_clear()
    get_settings.cache_clear()
